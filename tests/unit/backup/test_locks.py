"""Object Lock on S3's terms (moto's bucket with versions): what is locked, how long, and who is not kept from work."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.backup import engine
from chalicelib.backup.s3 import S3Repository
from tests.unit.backup import flows
from tests.unit.backup.fakes import image

SIZE = 2 * flows.GEOMETRY.shard_size

SOON, LATER = (datetime.datetime(year, 1, 31, tzinfo=datetime.UTC) for year in (2090, 2095))


@pytest.fixture
def client(aws: None) -> Any:
    import boto3

    made = boto3.client('s3')
    made.create_bucket(Bucket='locked', ObjectLockEnabledForBucket=True)
    return made


def repository(client: Any, until: datetime.datetime | None = None) -> S3Repository:
    return S3Repository(client, 'locked', 'p/', locked_until=until)


def locks(client: Any) -> dict[str, datetime.datetime | None]:
    """Key -> the end of its lock."""
    found = repository(client).list('')
    return {
        info.key: client.head_object(Bucket='locked', Key=f'p/{info.key}').get('ObjectLockRetainUntilDate')
        for info in found
    }


def chain(client: Any, *, parent_until: datetime.datetime | None) -> None:
    """A full backup, and an incremental that shares a pack of one shard and all of the other, locked until LATER."""
    data = image(SIZE, 1)
    flows.back_up(repository(client, parent_until), data, 'one')
    data[:512] = b'changed!' * 64
    store = repository(client, LATER)
    flows.back_up(store, data, 'two', 'one')
    backup = engine.open_backup(store, flows.WRAPPER, flows.LINEAGE, 'two')
    for shard in engine.plan(SIZE, flows.GEOMETRY):
        engine.lock_shard(store, backup, shard.index, limits=flows.LIMITS)


def needed(client: Any, backup_id: str) -> set[str]:
    """What a restore of the backup reads."""
    asked: set[str] = set()

    class Watched(S3Repository):
        def get(self, key: str, *arguments: Any) -> Any:
            asked.add(key)
            return super().get(key, *arguments)

    flows.restored(Watched(client, 'locked', 'p/'), backup_id)
    return asked


@pytest.mark.parametrize('parent_until', [None, SOON, LATER.replace(year=2099)], ids=['none', 'shorter', 'longer'])
def test_all_that_a_restore_reads_is_locked(client: Any, parent_until: datetime.datetime | None) -> None:
    chain(client, parent_until=parent_until)
    found, read = locks(client), needed(client, 'two')
    assert len({key.split('/')[-2] for key in read if key.startswith('packs/')}) == 2
    shared = max(LATER, parent_until or LATER)
    assert {found[key] for key in read if '/one' in key} == {shared}
    assert {found[key] for key in read if '/one' not in key} == {LATER}
    assert {until for key, until in found.items() if key.startswith('running/')} == {None}


def test_a_locked_version_cannot_be_deleted_by_anybody(client: Any) -> None:
    chain(client, parent_until=None)
    for version in client.list_object_versions(Bucket='locked', Prefix='p/packs/')['Versions']:
        with pytest.raises(ClientError, match='AccessDenied'):
            client.delete_object(Bucket='locked', Key=version['Key'], VersionId=version['VersionId'])


def test_the_collector_does_not_stop_at_what_is_locked(client: Any) -> None:
    """It hides what is dead and locked (a lost race's packs, a deleted backup's), and continues; a rule of the bucket
    takes the bytes when the lock ends. What is live stays."""
    chain(client, parent_until=LATER)
    store = repository(client, LATER)
    store.put(f'packs/{flows.LINEAGE}/00000/two/lost-0000', b'of a worker that came second')
    engine.delete_backup(store, flows.LINEAGE, 'one')
    collected = flows.collect(store, clock=lambda: 1e11)
    assert collected.done
    assert collected.objects > 0
    assert not any(key.endswith('lost-0000') for key in locks(client))
    data = image(SIZE, 1)
    data[:512] = b'changed!' * 64
    assert flows.restored(repository(client), 'two') == data
    kept = client.list_object_versions(Bucket='locked', Prefix=f'p/packs/{flows.LINEAGE}/00000/two/lost')['Versions']
    assert len(kept) == 1


def test_locking_again_changes_nothing(client: Any) -> None:
    chain(client, parent_until=None)
    before = locks(client)
    store = repository(client, SOON)
    backup = engine.open_backup(store, flows.WRAPPER, flows.LINEAGE, 'two')
    assert engine.lock_shard(store, backup, 0, limits=flows.LIMITS) > 0
    assert locks(client) == before
