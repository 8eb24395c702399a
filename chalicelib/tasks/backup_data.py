"""What the tasks of backups share: the repository and its keys, ranges of shards, and the progress of a range."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import aws, telemetry
from chalicelib.backup import engine
from chalicelib.backup.keys import KeyWrapper, RecoverableKeyWrapper, RecoveryKeyWrapper
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from chalicelib.config import settings
from chalicelib.models import Backup
from chalicelib.operations import backups, progress
from chalicelib.tasks import function_time

#: Ranges of shards that are copied side by side: an inline Map's own limit.
MAX_RANGES = 40


def repository(backup: Backup) -> S3Repository:
    """Return the repository that has the backup's lineage."""
    return S3Repository(
        _client('s3', backup),
        backups.location_of(backup)['bucket'],
        backups.repository_prefix(backup),
        backup.storage_class or '',
        _whole_seconds(backup.locked_until),
    )


def _whole_seconds(stored: str | None) -> datetime.datetime | None:
    """Return a stored timestamp as the SDK takes it."""
    return datetime.datetime.fromisoformat(f'{stored[:19]}+00:00') if stored else None


def key_wrapper(backup: Backup) -> KeyWrapper:
    """Return the wrapper of the lineage's data keys: new ones under the service's KMS key, old ones as they are."""
    return _recoverable(KmsKeyWrapper(_client('kms', backup), settings().kms_key_id))


def key_wrapper_of_copy(copy: Backup) -> KeyWrapper:
    """Return the wrapper of data keys under the key of the copy's place."""
    region = str((copy.location or {})['region'])
    return _recoverable(KmsKeyWrapper(aws.client('kms', region), str((copy.operation or {})['kms_key'])))


def _recoverable(kms: KmsKeyWrapper) -> KeyWrapper:
    """Wrap data keys to the public half of the recovery key as well, where the settings have one."""
    public = settings().recovery_public_key
    return RecoverableKeyWrapper(kms, RecoveryKeyWrapper(bytes.fromhex(public))) if public else kms


def _client(service: str, backup: Backup) -> Any:
    region = backups.location_of(backup)['region']
    return aws.client(service) if region == settings().region else aws.client(service, region)


def manifest_of(backup: Backup) -> engine.Manifest:
    """Return a finished backup's manifest, verified by the hash on its record. Raises IntegrityError."""
    return engine.load_backup(
        repository(backup), key_wrapper(backup), str(backup.manifest_key), root_hash=backup.root_hash
    )


def limits() -> engine.Limits:
    """Return the bounds of the engine's memory and of its packs."""
    return engine.Limits(pack_size=settings().pack_size)


def ranges(size: int) -> list[dict[str, Any]]:
    """Cut ``size`` bytes into at most MAX_RANGES ranges of shards, each with the progress it begins with."""
    count = engine.Geometry().shard_count(size)
    step = -(-count // MAX_RANGES)
    return [
        {'last': min(first + step, count) - 1, 'progress': {'done': False, 'shard': first, 'cursor': None}}
        for first in range(0, count, step)
    ]


def shard_by_shard(payload: Mapping[str, Any], work: Callable[[int, Any], Any]) -> dict[str, Any]:
    """Call ``work(shard, cursor)`` for each shard of a range until time runs short; return the range's progress."""
    shard, cursor, last = payload['progress']['shard'], payload['progress']['cursor'], payload['last']
    began, first = time.monotonic(), shard
    while shard <= last and function_time.has_time():
        result = work(shard, cursor)
        cursor = result.cursor
        shard += 1 if result.done else 0
    telemetry.count('ShardsCopied', shard - first, seconds=round(time.monotonic() - began, 3))
    return {'done': shard > last, 'shard': shard, 'cursor': cursor}


class ProgressReporter:
    """Reports the bytes that are done of the shards from ``first`` on, at most every 30 seconds."""

    def __init__(self, first: int, shard_size: int, report: Callable[[int], None]) -> None:
        self._first, self._shard_size, self._report = first, shard_size, report
        self._next = time.monotonic() + progress.INTERVAL

    def of_shard(self, shard: int) -> Callable[[int], None]:
        """Return the engine's progress callback for one shard; it takes the bytes that are done of that."""

        def report(done: int) -> None:
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + progress.INTERVAL
                self._report((shard - self._first) * self._shard_size + done)

        return report


def progress_reporter(payload: Mapping[str, Any], size: int, note: Callable[[str, int], None]) -> ProgressReporter:
    """Return what calls ``note(part, bytes)`` for this range of a volume of ``size`` bytes."""
    last = payload['last']
    [first] = [one['progress']['shard'] for one in ranges(size) if one['last'] == last]
    return ProgressReporter(first, engine.Geometry().shard_size, lambda done: note(f'range_{last}', done))
