"""The state of the emulated EBS, and the clock that advances it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from local.ebs.blocks import BlockFile, Disk


class Refused(Exception):
    """An error response of AWS: code, message, HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, **details: Any) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message
        self.status = status
        #: Further members of the error, such as EBS direct's Reason.
        self.details = details


class Cut(ConnectionError):
    """The connection breaks before an answer gets through."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds. ``visible``: until a describe shows an object that was created or tagged."""

    volume: float = 0.2
    snapshot: float = 0.3
    modify: float = 0.2
    optimize: float = 0.5
    attach: float = 0.1
    detach: float = 0.1
    delete: float = 0.1
    visible: float = 0.0


@dataclasses.dataclass(slots=True)
class Tags:
    """Tags of one object. A describe sees a change when it is ``visible``."""

    now: dict[str, str] = dataclasses.field(default_factory=dict)
    before: dict[str, str] = dataclasses.field(default_factory=dict)
    visible_at: float = 0.0

    def seen(self, at: float) -> dict[str, str]:
        return self.now if at >= self.visible_at else self.before

    def change(self, tags: dict[str, str], at: float, visible_at: float) -> None:
        self.before = dict(self.seen(at))
        self.now, self.visible_at = tags, visible_at


@dataclasses.dataclass(slots=True)
class Attachment:
    instance_id: str
    device: str
    since: float
    attached_at: float
    detached_at: float | None = None

    def state(self, at: float) -> str:
        if self.detached_at is not None:
            return 'detaching' if at < self.detached_at else 'detached'
        return 'attaching' if at < self.attached_at else 'attached'


@dataclasses.dataclass(slots=True)
class Modification:
    """From ``original`` to ``target``: size, type, iops, throughput, multi-attach."""

    original: Mapping[str, Any]
    target: Mapping[str, Any]
    started_at: float
    optimizing_at: float
    completed_at: float

    def state(self, at: float) -> str:
        if at < self.optimizing_at:
            return 'modifying'
        return 'optimizing' if at < self.completed_at else 'completed'


@dataclasses.dataclass(slots=True)
class Volume:
    """``facts``: size, type, iops, throughput, multi-attach by their names in the API."""

    id: str
    zone: str
    facts: dict[str, Any]
    disk: Disk
    tags: Tags
    created_at: float
    available_at: float
    visible_at: float
    snapshot_id: str = ''
    source_id: str = ''
    key: str | None = None
    #: Its key cannot be used: it vanishes instead of becoming available.
    doomed: bool = False
    deleted_at: float | None = None
    attachments: dict[str, Attachment] = dataclasses.field(default_factory=dict)
    modifications: list[Modification] = dataclasses.field(default_factory=list)

    def settle(self, at: float) -> None:
        """Apply the changes that are due: detachments, and the new size of a modification."""
        self.attachments = {instance: one for instance, one in self.attachments.items() if one.state(at) != 'detached'}
        for modification in self.modifications[-1:]:
            if at >= modification.optimizing_at:
                self.facts.update(modification.target)

    def state(self, at: float) -> str:
        """Return the state, '' for a deleted one."""
        if self.deleted_at is not None:
            return 'deleting' if at < self.deleted_at else ''
        if at < self.available_at:
            return 'creating'
        if self.doomed:
            return ''
        return 'in-use' if self.attachments else 'available'


@dataclasses.dataclass(slots=True)
class Snapshot:
    """Of a volume, or written through the direct API: then it is ``open`` for writing until it is completed."""

    id: str
    size: int
    disk: Disk
    tags: Tags
    started_at: float
    visible_at: float
    completed_at: float | None
    volume_id: str = 'vol-ffffffff'
    description: str = ''
    key: str | None = None
    open: bool = False
    failed: bool = False
    expires_at: float = 0.0
    #: Blocks put through the direct API.
    touched: set[int] = dataclasses.field(default_factory=set)

    def state(self, at: float) -> str:
        if self.failed or (self.open and at >= self.expires_at):
            return 'error'
        return 'completed' if self.completed_at is not None and at >= self.completed_at else 'pending'


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """The facts of an instance that an attachment needs."""

    zone: str
    state: str = 'running'
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Cloud:
    """The whole state. ``instances`` and ``keys`` look up objects of other services."""

    now: Callable[[], float]
    timing: Timing
    zones: tuple[str, ...]
    instances: Callable[[str], Instance | None]
    #: Whether a KMS key can be used.
    keys: Callable[[str], bool]
    file: BlockFile
    #: GiB that the account may have in all (VolumeLimitExceeded), None for any.
    storage_limit: int | None = None
    #: How many of the next listings of blocks come with an empty page and a token for the next one.
    empty_pages: int = 0
    volumes: dict[str, Volume] = dataclasses.field(default_factory=dict)
    snapshots: dict[str, Snapshot] = dataclasses.field(default_factory=dict)
    #: Client token -> (parameters of the request, id of the created object).
    tokens: dict[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)
    secret: bytes = dataclasses.field(default_factory=lambda: secrets.token_bytes(16))

    def settle(self) -> None:
        """Advance every object to the present; release the bytes of deleted ones."""
        at = self.now()
        for id, volume in list(self.volumes.items()):
            volume.settle(at)
            if not volume.state(at):
                volume.disk.drop()
                del self.volumes[id]

    def volume(self, id: str) -> Volume:
        """Return an existing volume. Raises Refused."""
        if id not in self.volumes:
            raise Refused('InvalidVolume.NotFound', f"The volume '{id}' does not exist.")
        return self.volumes[id]

    def snapshot(self, id: str) -> Snapshot:
        if id not in self.snapshots:
            raise Refused('InvalidSnapshot.NotFound', f"The snapshot '{id}' does not exist.")
        return self.snapshots[id]

    def once(self, parameters: Mapping[str, Any], make: Callable[[], str]) -> str:
        """Create the object, or return the id that the same token created. Raises Refused for other parameters."""
        token = parameters.get('ClientToken')
        asked = {key: value for key, value in parameters.items() if key != 'ClientToken'}
        if token is None:
            return make()
        if token in self.tokens:
            before, id = self.tokens[token]
            if before != asked:
                raise Refused('IdempotentParameterMismatch', f"The token '{token}' was used with other parameters.")
            return id
        made = make()
        self.tokens[token] = (asked, made)
        return made

    def used_gib(self) -> int:
        return sum(int(volume.facts['Size']) for volume in self.volumes.values())


def new_id(prefix: str) -> str:
    return f'{prefix}-{secrets.token_hex(9)[1:]}'
