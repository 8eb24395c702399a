"""Parts of the backup tasks that the machines' tests do not see: cutting, cursors, S3 and KMS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib import aws
from chalicelib.backup import engine
from chalicelib.backup.keys import RecoveryKeyWrapper, public_half
from chalicelib.drivers.base import GIB
from chalicelib.operations import backups as operations
from chalicelib.rules import sentences
from chalicelib.tasks import backup_data, backups, function_time
from chalicelib.tasks.work import fail_reason
from tests.backup_factories import create_backup, stored_backup
from tests.data_backends import Data
from tests.factories import context, create_volume, stored_volume
from tests.simulation import Simulation


@settings(deadline=None)
@given(st.integers(min_value=1, max_value=65 * 1024))
def test_ranges_cover_every_shard_once(size: int) -> None:
    """GiB; up to 65 TiB."""
    found = backup_data.ranges(size * GIB)
    assert len(found) <= backup_data.MAX_RANGES
    covered = [shard for one in found for shard in range(one['progress']['shard'], one['last'] + 1)]
    assert covered == list(range(engine.Geometry().shard_count(size * GIB)))
    assert all(one['progress'] == {'done': False, 'shard': one['progress']['shard'], 'cursor': None} for one in found)


def progress(shard: int, last: int, cursor: Any = None) -> dict[str, Any]:
    return {'last': last, 'progress': {'done': False, 'shard': shard, 'cursor': cursor}}


class Work:
    """Takes ``turns`` calls for each shard, and then runs out of time after ``calls``."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.seen: list[tuple[int, Any]] = []

    def __call__(self, shard: int, cursor: Any) -> engine.RestoreResult:
        self.seen.append((shard, cursor))
        turn = (cursor or 0) + 1
        return engine.RestoreResult(turn == self.turns, None if turn == self.turns else turn)  # type: ignore[arg-type]


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is left at each look at the clock; the last value stays."""
    left = [100.0]
    monkeypatch.setattr(function_time, 'seconds_left', lambda: left[0] if len(left) == 1 else left.pop(0))
    return left


def test_shards_follow_each_other_with_their_own_cursors(seconds: list[float]) -> None:
    work = Work(turns=2)
    assert backup_data.shard_by_shard(progress(3, 4), work) == {'done': True, 'shard': 5, 'cursor': None}
    assert work.seen == [(3, None), (3, 1), (4, None), (4, 1)]


def test_time_that_runs_short_leaves_a_cursor(seconds: list[float]) -> None:
    seconds[:] = [100.0, 0.0]
    work = Work(turns=3)
    answer = backup_data.shard_by_shard(progress(0, 1), work)
    assert answer == {'done': False, 'shard': 0, 'cursor': 1}
    seconds[:] = [100.0]
    assert backup_data.shard_by_shard({'last': 1, 'progress': answer}, work)['done']
    assert work.seen == [(0, None), (0, 1), (0, 2), (1, None), (1, 1), (1, 2)]


def test_the_clock_keeps_a_margin() -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 31_000

    with function_time.running(Context()):
        assert function_time.seconds_left() == pytest.approx(1.0)
        assert function_time.has_time()
    with pytest.raises(LookupError):
        function_time.seconds_left()


@pytest.mark.parametrize(
    ('error', 'detail'),
    [
        ('BackendUnavailable', '019'),
        ('LoginFailed', '019'),
        ('RepositoryError', '020'),
        ('KeyUnavailable', '020'),
        ('States.Timeout', '020'),
        ('ValueError', '020'),
        ('', '020'),
    ],
)
def test_which_side_failed(error: str, detail: str) -> None:
    assert backups._detail({'error': {'Error': error, 'Cause': ''}}) == detail


def test_a_reason_is_a_users_text() -> None:
    cause = '{"errorType": "X", "errorMessage": "no space", "stackTrace": ["secret path"]}'
    assert fail_reason({'id': 'b', 'error': {'Error': 'ImageCopyFailure', 'Cause': cause}}) == 'no space'
    for foreign in ('X', 'States.Timeout', ''):
        assert fail_reason({'id': 'b', 'error': {'Error': foreign, 'Cause': cause}}) == sentences.INTERRUPTED
    assert len(fail_reason({'id': 'b', 'error': {'Error': 'ImageCopyFailure', 'Cause': 'long' * 1000}})) == 255


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, simulation: Simulation) -> Iterator[Any]:
    """A bucket and a key, as the settings name them."""
    import boto3

    key = boto3.client('kms', region_name='us-east-1').create_key()['KeyMetadata']['KeyId']
    s3 = boto3.client('s3', region_name='us-east-1')
    s3.create_bucket(Bucket='backups')
    known = aws.settings()._replace(backup_bucket='backups', kms_key_id=key, pack_size=1 << 20)
    for module in (backup_data, operations):
        monkeypatch.setattr(module, 'settings', lambda: known)
    aws.client.cache_clear()
    yield s3
    aws.client.cache_clear()


def test_a_recovery_key_opens_what_kms_wrapped(
    simulation: Simulation, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service holds the public half only; without one in the settings KMS alone wraps."""
    private = b'r' * 32
    known = backup_data.settings()._replace(recovery_public_key=public_half(private).hex())
    monkeypatch.setattr(backup_data, 'settings', lambda: known)
    plaintext, wrapped = backup_data.key_wrapper(stored_backup(stored_volume())).generate('lineage')
    assert sorted(wrapped) == ['kms', 'recovery']
    assert RecoveryKeyWrapper.from_private(private).unwrap('lineage', wrapped) == plaintext
    assert backup_data.key_wrapper(stored_backup(stored_volume())).unwrap('lineage', wrapped) == plaintext


def test_through_s3_and_kms(simulation: Simulation, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the volume's data, nor its key, is in the bucket in clear."""
    with pytest.MonkeyPatch.context() as patch:  # real disks, but not the double of the repository
        data = Data(simulation, patch)
        disks, zeroed = data.disks, data.zeroed
    from chalicelib.tasks import backends
    from tests.data_backends import DiskBackends

    data.disks, data.zeroed = disks, zeroed
    monkeypatch.setattr(backends, 'configured', lambda: DiskBackends(simulation.backends, data))
    volume = create_volume(context(), 1, name='named')
    simulation.settle()
    data.of(volume).fill(seed=4)
    data.of(volume).write(0, b'canary' * 1000)
    backup = create_backup(context(), volume)
    simulation.settle()
    assert backup.reload().status == 'available'
    keys = [item['Key'] for item in bucket.list_objects_v2(Bucket='backups')['Contents']]
    assert all(key.startswith(operations.repository_prefix(backup)) for key in keys)
    stored = b''.join(bucket.get_object(Bucket='backups', Key=key)['Body'].read() for key in keys)
    assert b'canary' not in stored
    assert b'named' in stored
    _, target = operations.restore(context(), backup.id, volume_id=None, name=None)
    simulation.settle()
    assert target.reload().status == 'available'
    assert data.of(target).same(data.of(volume))
