"""What the reference model remembers. No code of the service is imported here, nor anywhere in the reference."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

#: Refusals: HTTP statuses.
INVALID, NOT_FOUND, CONFLICT, OVER_QUOTA = 400, 404, 409, 413

Codes = frozenset[int]

#: Place on a disk -> the last number written there; None: a failure left what no client may rely on.
Content = dict[int, int] | None

#: Changes the reference as the acceptance of a request that made a resource with this id.
Accept = Callable[[str], None]

#: The volume of an imported backup, as it is shown.
NO_VOLUME = '00000000-0000-0000-0000-000000000000'

#: The volume type whose volumes several hosts may attach.
SHARED_TYPE = 'shared'


@dataclasses.dataclass
class Attachment:
    """A server's claim on a volume. ``host``: the one in its connector or request; None before it has one."""

    id: str
    status: str
    server: str
    host: str | None = None
    connected: bool = False


@dataclasses.dataclass
class Volume:
    """``readers``: clones and backups that are being made of it. ``growth``: GiB that an extension has reserved.

    ``placed``: a backend was chosen for it. ``wanted_type``: the type that a retype has reserved. ``origin``: the
    member of the API that names what it was made from, and the id. ``moving``: a migration is under way. ``before``:
    the status that a retype, extension or backup ends with. ``offer``: id of the newest transfer. ``locked``: its data
    is encrypted. ``managed``: false for an object that could not be brought under management, which counts for no
    quota. ``hosted``: it has had a backend from the start. ``upload``: the image that is made of it.
    """

    id: str
    project: str
    size: int
    type: str
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)
    attachments: dict[str, Attachment] = dataclasses.field(default_factory=dict)
    readers: int = 0
    growth: int = 0
    wanted_type: str | None = None
    placed: bool = False
    before: str = 'available'
    offer: str | None = None
    origin: tuple[str, str] | None = None
    group: str | None = None
    moving: bool = False
    locked: bool = False
    managed: bool = True
    hosted: bool = False
    upload: str | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.placed

    @property
    def multiattach(self) -> bool:
        return self.type == SHARED_TYPE


@dataclasses.dataclass
class Snapshot:
    """``taken``: the time of its acceptance. ``whole``: its data was complete once."""

    id: str
    project: str
    volume: str
    size: int
    type: str
    taken: str
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)
    readers: int = 0
    whole: bool = False
    group_snapshot: str | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Stored:
    """The data of a backup in the repository, under the id with which it was made."""

    id: str
    is_kept: bool = True


@dataclasses.dataclass
class Backup:
    """``parent``: the backup that an incremental one builds on. ``taken``: the time of its data.

    ``counts``: its parent shows that it has dependents. ``holds``: the source that it reads, or may have left something
    temporary of. ``metadata``: the volume's. ``stored``: its data in the repository, which a second record
    (``is_second``) leaves there when it is removed.
    """

    id: str
    project: str
    volume: str
    size: int
    taken: str = ''
    created: str = ''
    snapshot: str | None = None
    parent: str | None = None
    status: str = 'creating'
    content: Content = dataclasses.field(default_factory=dict)
    counts: bool = False
    whole: bool = False
    holds: Volume | Snapshot | None = None
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    stored: Stored = dataclasses.field(default_factory=lambda: Stored(''))
    locked: bool = False
    is_second: bool = False
    is_import: bool = False


@dataclasses.dataclass
class Exported:
    """A record as an administrator keeps it. ``url``: its text."""

    url: str
    size: int
    content: Content
    metadata: dict[str, str]
    parent: str | None
    stored: Stored


@dataclasses.dataclass
class Image:
    id: str
    project: str
    size: int
    status: str = 'queued'
    content: Content = dataclasses.field(default_factory=dict)
    locked: bool = False


@dataclasses.dataclass
class Kind:
    """A volume type. ``qos``: id of its QoS specs."""

    qos: str | None = None
    encrypted: bool = False


@dataclasses.dataclass
class Shelved:
    """An object of a backend without a record. ``volume``: of a snapshot, the volume's id."""

    name: str
    host: str | None
    volume: str | None = None
    size: int = 0
    content: Content = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Group:
    id: str
    project: str
    types: frozenset[str]
    status: str = 'creating'
    name: str | None = None


@dataclasses.dataclass
class GroupSnapshot:
    id: str
    project: str
    group: str
    status: str = 'creating'


@dataclasses.dataclass
class Transfer:
    id: str
    project: str
    volume: str
    key: str


#: What a volume is made of; None: of nothing.
Source = Volume | Snapshot | Backup | Image | None

Resource = Volume | Snapshot | Backup | Group | GroupSnapshot


def nothing() -> None:
    """Change nothing."""


@dataclasses.dataclass
class Job:
    """Work under way for one resource. ``fail`` does what a failure leaves.

    ``cancel`` releases what is held when the resource is gone, or when an administrator has ended the work: then at
    once, or (``late``) when the service comes to it.
    """

    resource: Resource
    done: Callable[[], None]
    fail: Callable[[], None]
    cancel: Callable[[], None] = nothing
    late: bool = False
