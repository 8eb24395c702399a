"""Whole backups and restores in a geometry small enough for thousands of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.backup import engine
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.backup.layout import KIB, backup_key
from chalicelib.backup.repository import Repository
from tests.unit.backup.fakes import MemoryDevice

LINEAGE = 'lineage-1'
GEOMETRY = engine.Geometry(block_size=4 * KIB, shard_size=64 * KIB)

#: No threads, so that calls come in one order; packs of three blocks.
LIMITS = engine.Limits(
    pack_size=13 * KIB, uploads=0, downloads=0, lookups=0, run_size=9 * KIB, gap_size=KIB, step_blocks=4, reserve=1.0
)

WRAPPER = RecoveryKeyWrapper.from_private(b'p' * 32)


def begin(
    repository: Repository, size: int, backup_id: str, parent: str | None = None, **options: Any
) -> engine.Backup:
    options = {'lineage': LINEAGE, 'geometry': GEOMETRY} | options
    return engine.begin_backup(repository, WRAPPER, size=size, backup_id=backup_id, parent=parent, **options)


def copy_shard(
    repository: Repository, device: MemoryDevice, backup: engine.Backup, index: int, limits: engine.Limits = LIMITS
) -> engine.ShardResult:
    return engine.backup_shard(device, repository, backup, index, limits=limits)


def commit(repository: Repository, backup: engine.Backup) -> engine.Manifest:
    metadata = {'name': 'volume-1'}
    created_at = '2026-11-22T00:00:00Z'
    return engine.commit_backup(repository, WRAPPER, backup, created_at=created_at, metadata=metadata, limits=LIMITS)


def back_up(
    repository: Repository,
    data: bytes | bytearray | MemoryDevice,
    backup_id: str,
    parent: str | None = None,
    limits: engine.Limits = LIMITS,
    **options: Any,
) -> engine.Manifest:
    device = data if isinstance(data, MemoryDevice) else MemoryDevice(data)
    backup = begin(repository, device.size, backup_id, parent, **options)
    for shard in engine.plan(device.size, backup.geometry):
        copy_shard(repository, device, backup, shard.index, limits)
    return commit(repository, backup)


def load(repository: Repository, backup_id: str, lineage: str = LINEAGE) -> engine.Manifest:
    return engine.load_backup(repository, WRAPPER, backup_key(lineage, backup_id))


def restore_to(
    repository: Repository, device: MemoryDevice, backup_id: str, *, zeroed: bool = False, **options: Any
) -> None:
    manifest = load(repository, backup_id, **options)
    for shard in engine.plan(manifest.size, manifest.geometry):
        engine.restore_shard(device, repository, manifest, shard.index, target_is_zeroed=zeroed, limits=LIMITS)


def restored(repository: Repository, backup_id: str, **options: Any) -> bytearray:
    """What a backup holds, restored over garbage."""
    device = MemoryDevice(b'\xaa' * load(repository, backup_id, **options).size)
    restore_to(repository, device, backup_id, **options)
    return device.data


def countdown(looks: int) -> Callable[[], float]:
    """A seconds_left that is far for so many looks at it, and then over."""
    left = iter(range(looks))
    return lambda: 1e9 if next(left, None) is not None else 0.0


class HeldLease:
    def confirm(self) -> None:
        """No other worker wants it."""


def collect(repository: Repository, **options: Any) -> engine.Collected:
    options = {'lease': HeldLease(), 'grace': 0.0, 'clock': lambda: 0.0} | options
    return engine.collect(repository, LINEAGE, **options)
