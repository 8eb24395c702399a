"""The intent, which begins a backup, and the manifest, which completes it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from chalicelib.backup import documents, layout, shards
from chalicelib.backup.crypto import DataKey, digest
from chalicelib.backup.keys import KeyWrapper, WrappedKeys
from chalicelib.backup.layout import Geometry
from chalicelib.backup.listing import Listing, ShardRef
from chalicelib.backup.repository import Repository
from chalicelib.errors import IntegrityError, ObjectMissing

#: Named in manifests for later readers; other algorithms would be another format.
ALGORITHMS = {
    'identity': 'blake3-256-keyed',
    'compression': 'zstd',
    'cipher': 'aes-256-gcm',
    'mac': 'blake3-256-keyed',
    'key_derivation': 'blake3-derive-key',
}


@dataclasses.dataclass(frozen=True, slots=True)
class Backup:
    """What is fixed when a backup begins. ``size`` in bytes; ``parent`` is a backup's id, with that many shards."""

    lineage: str
    backup_id: str
    size: int
    geometry: Geometry
    parent: str | None
    parent_shards: int
    keys: WrappedKeys
    key: DataKey = dataclasses.field(repr=False)

    def encode(self) -> bytes:
        body = common(self) | {'parent_shards': self.parent_shards}
        return documents.encode(self.key, layout.running_key(self.lineage, self.backup_id), body)


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A finished backup, as its manifest describes it. ``created_at`` and ``metadata`` are the caller's own.

    ``object_count`` and ``stored_bytes`` count this backup alone, without what it shares with older ones.
    """

    lineage: str
    backup_id: str
    size: int
    geometry: Geometry
    parent: str | None
    keys: WrappedKeys
    key: DataKey = dataclasses.field(repr=False)
    shards: list[ShardRef] = dataclasses.field(repr=False)
    object_count: int
    stored_bytes: int
    created_at: str
    metadata: dict[str, Any]

    @property
    def object_key(self) -> str:
        return layout.backup_key(self.lineage, self.backup_id)

    @property
    def root_hash(self) -> str:
        """Hex; covers every byte of the volume."""
        return digest(b''.join(bytes.fromhex(shard.mac) for shard in self.shards)).hex()

    def encode(self) -> bytes:
        own = ('object_count', 'stored_bytes', 'created_at', 'metadata', 'root_hash', 'shards')
        body = common(self) | {'algorithms': ALGORITHMS} | {name: getattr(self, name) for name in own}
        return documents.encode(self.key, self.object_key, body)


def common(backup: Backup | Manifest) -> documents.Body:
    """Return the fields that every document has."""
    return {
        'lineage': backup.lineage,
        'backup': backup.backup_id,
        'parent': backup.parent,
        'size': backup.size,
        'block_size': backup.geometry.block_size,
        'shard_size': backup.geometry.shard_size,
        'keys': dict(backup.keys),
    }


def _fields(body: documents.Body, key: DataKey) -> dict[str, Any]:
    """The arguments that both classes share."""
    geometry = Geometry(body['block_size'], body['shard_size'])
    named = {name: body[name] for name in ('lineage', 'size', 'parent', 'keys')}
    return {**named, 'backup_id': body['backup'], 'geometry': geometry, 'key': key}


def open_backup(repository: Repository, wrapper: KeyWrapper, lineage: str, backup_id: str) -> Backup:
    """Return a backup that ``begin_backup`` began; also a finished one, so that the caller can detect that.

    A manifest takes precedence over an intent: an intent that a worker stores after the grace time, beside the finished
    backup, has another data key. Raises ObjectMissing when the backup was never begun or was deleted; IntegrityError;
    KeyUnavailable.
    """
    finished = layout.backup_key(lineage, backup_id)
    object_key, data = _first(repository, (finished, layout.running_key(lineage, backup_id), finished))
    body, key = documents.decode(object_key, lineage, data, wrapper)
    return Backup(**_fields(body, key), parent_shards=body.get('parent_shards', 0))


def _first(repository: Repository, keys: Sequence[str]) -> tuple[str, bytes]:
    """Return the first object that exists. Raises ObjectMissing for the last."""
    for key in keys[:-1]:
        with contextlib.suppress(ObjectMissing):
            return key, repository.get(key).data
    return keys[-1], repository.get(keys[-1]).data


def load_backup(
    repository: Repository, wrapper: KeyWrapper, manifest_key: str, *, root_hash: str | None = None
) -> Manifest:
    """Read a backup manifest; verify its authentication code and root hash (if given, against ``root_hash`` too).

    Raises ObjectMissing when the backup does not exist; IntegrityError; KeyUnavailable.
    """
    lineage, _ = layout.parse_backup_key(manifest_key)
    body, key = documents.decode(manifest_key, lineage, repository.get(manifest_key).data, wrapper)
    own = {name: body[name] for name in ('object_count', 'stored_bytes', 'created_at', 'metadata')}
    manifest = Manifest(**_fields(body, key), **own, shards=[ShardRef(*shard) for shard in body['shards']])
    if manifest.root_hash != body['root_hash'] or root_hash not in (None, manifest.root_hash):
        raise IntegrityError(key=manifest_key, reason='its root hash is not that of this backup')
    return manifest


def load_shard(repository: Repository, backup: Backup | Manifest, index: int, ref: ShardRef) -> Listing:
    """Return the listing that ``ref`` names. Raises ObjectMissing; IntegrityError, also for a different listing."""
    object_key = layout.shard_key(backup.lineage, index, ref.backup)
    header, listing = shards.load(repository, backup.key, object_key)
    if header.mac != ref.mac:
        raise IntegrityError(key=object_key, reason='it is not the shard manifest that the backup names')
    return listing


def list_backups(repository: Repository) -> Iterator[str]:
    """Yield the keys of all manifests; deleted backups are left out."""
    deleted = {info.key.partition('/')[2] for info in repository.list('deleted/')}
    for info in repository.list('backups/'):
        if info.key.partition('/')[2] not in deleted:
            yield info.key


def peek_backup(repository: Repository, manifest_key: str) -> documents.Body:
    """Return a manifest's content, unverified: no key is needed. Raises ObjectMissing, IntegrityError."""
    return documents.peek(manifest_key, repository.get(manifest_key).data)
