"""A database that Cinder 29 wrote, brought into the tables: the result, a second run, a later one, and a rollback."""

from __future__ import annotations

import copy
import itertools
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chalicelib import errors
from chalicelib.models import (
    Attachment,
    Backup,
    DefaultType,
    Group,
    Message,
    Pool,
    QosSpecs,
    Quota,
    Service,
    Snapshot,
    Transfer,
    Volume,
    VolumeType,
    base,
)
from chalicelib.operations import attachments, quotas, transfers, volume_types, volumes
from cinderless.errors import Failure
from cinderless.migration import hosts, run
from cinderless.migration.report import Outcome, Report
from cinderless.migration.source import open_source
from tests import factories
from tests.migration import databases
from tests.simulation import BIG, FAST, Simulation
from tests.small_dynamodb import SmallDynamoDB
from tests.unreliable import Unreliable, every_write, no_call

pytestmark = pytest.mark.xdist_group('cinder_run')


class World(NamedTuple):
    """A database of Cinder, what is in it by name, and the service that it is brought to."""

    path: Path
    made: dict[str, Any]
    service: Simulation

    def migrate(self, *, apply: bool = True, table: hosts.HostMap = databases.HOSTS) -> Report:
        with open_source(f'sqlite:///{self.path}') as source:
            return run.migrate(source, table, apply=apply)

    def verify(self) -> Report:
        with open_source(f'sqlite:///{self.path}') as source:
            return run.verify(source, databases.HOSTS)

    def execute(self, statement: str, *parameters: Any) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement, parameters)

    def volume(self, name: str) -> Volume:
        return Volume.find_anywhere(self.made[name])


@pytest.fixture
def world(simulation: Simulation, tmp_path: Path, kms: None) -> World:
    return World(*databases.database(tmp_path), simulation)


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for sealed secrets."""
    import boto3

    from chalicelib.config import settings

    key = boto3.client('kms', 'us-east-1').create_key()['KeyMetadata']['KeyId']
    changed = settings()._replace(kms_key_id=key)
    for module in ('chalicelib.aws', 'chalicelib.config'):
        monkeypatch.setattr(f'{module}.settings', lambda: changed)


def everything(tables: SmallDynamoDB) -> dict[str, Any]:
    """A copy of all items, apart from those that reads make."""
    return {name: copy.deepcopy(table.items) for name, table in tables.tables.items()}


def test_a_plan_writes_nothing_and_counts_what_a_run_writes(world: World, tables: SmallDynamoDB) -> None:
    before = everything(tables)
    plan = world.migrate(apply=False)
    assert everything(tables) == before
    done = world.migrate()
    assert plan.counts == done.counts
    assert plan.findings == done.findings
    assert done.total(Outcome.KEPT, Outcome.CHANGED, Outcome.SAME) == 0
    assert done.total(Outcome.NEW) > 20


def test_volumes_keep_ids_times_projects_and_users(world: World) -> None:
    world.migrate()
    golden = world.volume('golden')
    assert (golden.name, golden.size, golden.status, golden.host) == ('golden', 3, 'available', FAST)
    assert (golden.project_id, golden.user_id) == ('00000000000000000000000000000002', 'user')
    assert golden.volume_type_id == world.made['gold']
    assert golden.bootable
    assert golden.volume_image_metadata == {'image_id': 'an-image', 'os_type': 'linux'}
    assert world.volume('plain').metadata == {'purpose': 'test'}
    with sqlite3.connect(world.path) as connection:
        rows = connection.execute('SELECT id, created_at, _name_id FROM volumes WHERE deleted = 0').fetchall()
    stored = {id: (created_at.replace(' ', 'T'), name_id) for id, created_at, name_id in rows}
    for volume in base.every(Volume, None):
        assert (volume.created_at, volume.name_id) == stored[volume.id]
    assert world.volume('moved').name_id is not None


def test_types_and_what_belongs_to_them(world: World) -> None:
    world.migrate()
    gold = VolumeType.find(base.GLOBAL, world.made['gold'])
    assert (gold.extra_specs, gold.qos_specs_id, gold.description) == ({'tier': 'gold'}, world.made['specs'], 'fast')
    assert VolumeType.find(base.GLOBAL, world.made['private']).projects == ['00000000000000000000000000000002']
    assert VolumeType.find(base.GLOBAL, world.made['sealed']).encryption['cipher'] == 'aes-xts-plain64'
    specs = QosSpecs.find(base.GLOBAL, world.made['specs'])
    assert (specs.name, specs.consumer, specs.specs, specs.association_count) == (
        *('limited', 'front-end', {'read_iops_sec': '100'}),
        1,
    )
    assert volume_types.common_default().id == world.made['default']
    assert DefaultType.find(base.GLOBAL, '00000000000000000000000000000002').volume_type_id == gold.id


def test_limits_and_usage(world: World) -> None:
    world.migrate()
    usages = quotas.usages('00000000000000000000000000000001')
    with sqlite3.connect(world.path) as connection:
        rows = connection.execute(
            'SELECT resource, in_use FROM quota_usages WHERE project_id = ?', ('00000000000000000000000000000001',)
        ).fetchall()
    # Cinder counts what is left out, too: two volumes and a snapshot.
    left = {'volumes': 2, 'gigabytes': 3, 'snapshots': 1, 'volumes___DEFAULT__': 2, 'gigabytes___DEFAULT__': 3}
    left |= {'snapshots___DEFAULT__': 1}
    assert usages['volumes']['limit'] == 2000
    assert usages['gigabytes_gold']['limit'] == 500
    assert usages['per_volume_gigabytes']['limit'] == 900
    assert {name: usages[name]['in_use'] for name, _ in rows} == {
        name: in_use - left.get(name, 0) for name, in_use in rows
    }


def test_an_attached_volume_is_moved_only_where_its_export_is_kept(world: World) -> None:
    report = world.migrate()
    volume = world.volume('attached')
    attachment = Attachment.find(volume.project_id, world.made['attachment'])
    assert (volume.status, volume.attach_status, list(volume.attachments)) == ('in-use', 'attached', [attachment.id])
    assert attachment.connection_info is not None
    assert 'the-chap-secret' not in str(attachment.attribute_values)
    assert attachments.connection_info(attachment)['auth_password'] == 'the-chap-secret'
    assert attachment.connector['initiator'] == 'iqn.2010-10.org.openstack:h'
    assert Volume.find_or_none(volume.project_id, world.made['left']) is None
    [left] = [one for one in report.findings if one.id == world.made['left']]
    assert 'compute-2' in left.problem
    assert 'keep-exports' in left.advice


def test_a_volume_of_another_backend_is_recorded_as_unmanaged(world: World) -> None:
    report = world.migrate()
    volume = world.volume('ceph')
    assert (volume.status, volume.host, volume.claimed_gb) == ('maintenance', None, None)
    assert volume.admin_metadata['migration_source'] == 'old@ceph#rbd'
    [plan] = [one for one in report.findings if one.id == volume.id]
    assert 'import-cinder' in plan.advice
    with pytest.raises(errors.InvalidVolume):
        attachments.create(factories.context('admin'), volume_id=volume.id, instance_id=None, connector=None, mode=None)


def test_snapshots_groups_backups_messages_and_services(world: World) -> None:
    report = world.migrate()
    volume = world.volume('plain')
    snapshot = Snapshot.find(volume.project_id, world.made['snapshot'])
    assert (snapshot.name, snapshot.metadata, snapshot.host) == ('first', {'of': 'first'}, FAST)
    assert volume.snapshot_count == 1
    group = Group.find(volume.project_id, world.made['group'])
    assert (group.host, group.volume_count, group.volume_type_ids) == ('cinderless@fast', 2, [world.made['default']])
    backup = Backup.find(volume.project_id, world.made['backup'])
    assert (backup.status, backup.metadata, backup.container) == ('error', {'kept': 'yes'}, 'volumebackups')
    assert 'import-cinder' in backup.fail_reason
    [message] = base.every(Message, volume.project_id)
    assert message.resource_uuid == world.made['broken']
    service = Service.find(base.GLOBAL, 'cinder-volume:cinderless@fast')
    assert (service.disabled, service.disabled_reason) == (True, 'being replaced')
    left = {one.id: one.problem for one in report.findings}
    assert left[world.made['busy']] == 'its status is extending'
    assert left[world.made['busy_snapshot']] == 'its status is creating'


def test_a_transfer_can_be_accepted_with_the_key_that_cinder_gave(world: World) -> None:
    world.migrate()
    taker = factories.context(project_id='another')
    quotas.update('another', {'volumes': 5})
    with pytest.raises(errors.InvalidAuthKey):
        transfers.accept(taker, world.made['transfer'], 'wrong')
    transfers.accept(taker, world.made['transfer'], world.made['auth_key'])
    assert Volume.find('another', world.made['offered']).status == 'available'
    assert list(base.every(Transfer, None)) == []


def test_pools_count_what_is_adopted(world: World) -> None:
    before = {pool: int(Pool.find(base.GLOBAL, pool).volume_count) for pool in (FAST, BIG)}
    world.migrate()
    adopted = [volume for volume in base.every(Volume, None) if volume.host == BIG]
    pool = Pool.find(base.GLOBAL, BIG)
    assert int(pool.volume_count) - before[BIG] == len(adopted) == 2
    assert int(pool.allocated_gb) == sum(int(volume.size) for volume in adopted)


def test_a_second_run_changes_nothing(world: World, tables: SmallDynamoDB) -> None:
    first = world.migrate()
    before = everything(tables)
    second = world.migrate()
    assert everything(tables) == before
    assert second.total(Outcome.NEW, Outcome.CHANGED, Outcome.REMOVED, Outcome.KEPT) == 0
    assert second.total(Outcome.SAME) == first.total(Outcome.NEW)


def test_a_later_run_brings_what_has_changed_since(world: World) -> None:
    world.migrate()
    used = quotas.usages('00000000000000000000000000000002')['gigabytes_gold']['in_use']
    new = databases.run('later', f'sqlite:///{world.path}')['new']
    report = world.migrate()
    assert report.counts['Volume'] == {
        Outcome.NEW: 1,
        Outcome.CHANGED: 2,
        Outcome.REMOVED: 1,
        Outcome.SAME: report.counts['Volume'][Outcome.SAME],
    }
    assert world.volume('plain').name == 'renamed'
    assert world.volume('plain').snapshot_count == 1
    assert Volume.find_anywhere(new).name == 'new'
    with pytest.raises(errors.VolumeNotFound):
        world.volume('moved')
    assert quotas.usages('00000000000000000000000000000002')['gigabytes_gold']['in_use'] == used + 2
    assert [one for one in world.verify().findings if one.table == 'Quota'] == []


def test_a_volume_that_is_attached_after_it_was_brought_does_not_stay_available(world: World) -> None:
    world.migrate()
    assert world.volume('golden').status == 'available'
    world.execute(
        'INSERT INTO volume_attachment (id, volume_id, attach_status, attached_host, deleted) VALUES (?, ?, ?, ?, 0)',
        *('11111111-1111-1111-1111-111111111111', world.made['golden'], 'attached', 'compute-9'),
    )
    world.execute("UPDATE volumes SET status = 'in-use' WHERE id = ?", world.made['golden'])
    assert world.migrate(apply=False).counts['Volume'][Outcome.REMOVED] == 1
    assert world.migrate().counts['Volume'][Outcome.REMOVED] == 1
    with pytest.raises(errors.VolumeNotFound):
        world.volume('golden')
    assert [one for one in world.verify().findings if one.table == 'Quota'] == []


def test_what_belongs_to_a_volume_that_is_left_out_now_is_removed_with_it(world: World) -> None:
    world.migrate()
    world.execute("UPDATE volumes SET status = 'extending' WHERE id = ?", world.made['plain'])
    report = world.migrate()
    assert report.counts['Snapshot'][Outcome.REMOVED] == 1
    assert list(base.every(Snapshot, '00000000000000000000000000000001')) == []


def test_a_run_with_another_database_removes_nothing(world: World, tables: SmallDynamoDB) -> None:
    world.migrate()
    before = everything(tables)
    for table in ('volumes', 'snapshots', 'volume_attachment', 'transfers', 'groups', 'backups', 'messages'):
        world.execute(f'UPDATE {table} SET deleted = 1')
    with open_source(f'sqlite:///{world.path}') as source:
        report = run.migrate(source, databases.HOSTS, apply=True, most_removals=5)
    assert everything(tables) == before
    assert any('--most-removals' in one.advice for one in report.findings)
    with open_source(f'sqlite:///{world.path}') as source:
        assert run.migrate(source, databases.HOSTS, apply=True).counts['Volume'][Outcome.REMOVED] == 12


def test_what_was_changed_here_is_kept_and_reported(world: World) -> None:
    world.migrate()
    volumes.update(factories.context('admin'), world.made['plain'], {'name': 'named here'})
    databases.run('later', f'sqlite:///{world.path}')
    report = world.migrate()
    assert world.volume('plain').name == 'named here'
    assert [one.id for one in report.findings if 'changed' in one.problem] == [world.made['plain']]


def test_a_rollback_removes_exactly_what_was_brought(world: World, tables: SmallDynamoDB) -> None:
    mine = factories.create_volume(factories.context(), name='mine', volume_type=None)
    quotas.usages('00000000000000000000000000000001')
    before = everything(tables)
    world.migrate()
    dry = run.rollback(apply=False)
    done = run.rollback(apply=True)
    assert dry.counts == done.counts
    assert done.findings == []
    assert Volume.find(mine.project_id, mine.id).name == 'mine'
    left = {name: set(items) - set(before[name]) for name, items in everything(tables).items()}
    # Quota records of projects stay, with nothing counted: the service itself makes them at the first request.
    assert {name for name, keys in left.items() if keys} <= {'cinderless-quotas'}
    for quota in Quota.scan():
        if quota.project_id != mine.project_id:
            assert not any(quota.usage.attribute_values.values())
            assert quota.limits == {}
    assert not Service.find(base.GLOBAL, 'cinder-volume:cinderless@fast').disabled


def test_a_rollback_keeps_what_is_in_use_here(world: World) -> None:
    world.migrate()
    volumes.update(factories.context('admin'), world.made['plain'], {'name': 'named here'})
    used = factories.create_volume(factories.context(), volume_type=world.made['gold'])
    report = run.rollback(apply=True)
    assert world.volume('plain').name == 'named here'
    assert Snapshot.find(world.volume('plain').project_id, world.made['snapshot']).status == 'available'
    assert VolumeType.find(base.GLOBAL, str(used.volume_type_id)).name == 'gold'
    kept = {one.id for one in report.findings}
    assert {world.made['plain'], world.made['snapshot'], world.made['gold'], world.made['specs']} <= kept
    assert world.volume('plain').volume_type_id == world.made['default']


def test_verification_finds_each_difference(world: World) -> None:
    world.migrate()
    assert [one for one in world.verify().findings if one.table in ('Volume', 'Quota')] == []
    volumes.update(factories.context('admin'), world.made['plain'], {'name': 'named here'})
    world.execute('UPDATE volumes SET size = 7 WHERE id = ?', world.made['golden'])
    found = {one.id: one.problem for one in world.verify().findings if one.table == 'Volume'}
    assert found[world.made['plain']] == "name is 'plain' in Cinder and 'named here' here"
    assert set(found) == {world.made['plain'], world.made['golden']}


def test_a_run_that_is_killed_continues(world: World, tables: SmallDynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at each transaction in turn; the next run completes what is left, and nothing twice."""
    writes, commit = [0], base.Transaction.commit

    class Death(BaseException):
        pass

    def dying(transaction: base.Transaction) -> None:
        writes[0] += 1
        if writes[0] % 2 == 0:
            raise Death
        commit(transaction)

    monkeypatch.setattr(base.Transaction, 'commit', dying)
    for _ in range(40):
        try:
            report = world.migrate()
        except Death:
            continue
        break
    monkeypatch.undo()
    assert report.total(Outcome.KEPT) == 0
    assert world.migrate().total(Outcome.NEW, Outcome.CHANGED, Outcome.KEPT, Outcome.REMOVED) == 0
    assert [one for one in world.verify().findings if one.table not in ('volumes', 'snapshots', 'backups')] == []


@pytest.mark.parametrize('every', [1, 2, 5])
def test_two_runs_at_once_bring_everything_once(world: World, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Another run does all its work before a transaction of the first one; neither reports what the other brought."""
    numbers, commit, others = itertools.count(1), base.Transaction.commit, list[Report]()

    def racing(transaction: base.Transaction) -> None:
        if next(numbers) == every:
            others.append(world.migrate())
        commit(transaction)

    monkeypatch.setattr(base.Transaction, 'commit', racing)
    first = world.migrate()
    monkeypatch.undo()
    assert [one.total(Outcome.KEPT) for one in (first, *others)] == [0, 0]
    assert world.migrate().total(Outcome.NEW, Outcome.CHANGED, Outcome.KEPT, Outcome.REMOVED) == 0
    assert [one for one in world.verify().findings if one.table[0].isupper()] == []


@pytest.mark.parametrize(
    ('statement', 'name', 'problem'),
    [
        ("UPDATE volumes SET volume_type_id = 'gone' WHERE id = ?", 'plain', 'its volume type gone does not exist'),
        ('UPDATE volumes SET size = -1 WHERE id = ?', 'plain', 'its size is -1'),
        ("UPDATE volumes SET status = 'in-use' WHERE id = ?", 'plain', 'by its attachments it is available'),
        ("UPDATE volumes SET status = 'available' WHERE id = ?", 'offered', 'a transfer exists'),
        ('UPDATE volumes SET host = NULL WHERE id = ?', 'plain', 'it has no host'),
        ('UPDATE volumes SET project_id = NULL WHERE id = ?', 'plain', 'no project'),
        ("UPDATE volumes SET migration_status = 'migrating' WHERE id = ?", 'plain', 'migration_status is migrating'),
        ("UPDATE volume_attachment SET connector = '{' WHERE id = ?", 'attachment', 'is not JSON'),
        ("UPDATE volume_attachment SET connection_info = '[1]' WHERE id = ?", 'attachment', 'is not JSON'),
        ('UPDATE volume_attachment SET connection_info = \'{"data": 5}\' WHERE id = ?', 'attachment', 'is not JSON'),
        ('UPDATE volume_attachment SET attach_status = NULL WHERE id = ?', 'attachment', 'has the status None'),
        ("UPDATE volume_attachment SET attach_status = 'odd' WHERE id = ?", 'attachment', 'has the status odd'),
    ],
)
def test_rows_that_contradict_each_other_are_left_out(world: World, statement: str, name: str, problem: str) -> None:
    world.execute(statement, world.made[name])
    report = world.migrate()
    volume = world.made['attached' if name == 'attachment' else name]
    assert any(one.id == volume and problem in one.problem and one.advice for one in report.findings)
    with pytest.raises(errors.VolumeNotFound):
        Volume.find_anywhere(volume)
    assert report.total(Outcome.NEW) > 15


def test_a_snapshot_without_its_volume_and_a_negative_limit_are_reported(world: World) -> None:
    world.execute('UPDATE volumes SET deleted = 1 WHERE id = ?', world.made['plain'])
    world.execute("UPDATE quotas SET hard_limit = -5 WHERE resource = 'volumes'")
    report = world.migrate()
    problems = {one.problem for one in report.findings}
    assert f'its volume {world.made["plain"]} does not exist' in problems
    assert 'the limit of volumes is -5' in problems
    assert not report.is_complete


def test_an_id_or_name_that_is_taken_is_reported(world: World) -> None:
    """The other records of the same transaction are written."""
    volume_types.create(factories.context('admin'), name='gold', description=None, is_public=True, extra_specs={})
    factories.stored_volume('00000000000000000000000000000001', id=world.made['plain'], name='mine')
    plan, report = world.migrate(apply=False), world.migrate()
    assert plan.counts == report.counts
    assert Volume.find('00000000000000000000000000000001', world.made['plain']).name == 'mine'
    assert {one.id for one in report.findings if 'taken' in one.problem} >= {world.made['plain'], world.made['gold']}
    assert world.volume('broken').status == 'error'


def test_a_plan_reports_what_is_taken_changed_or_too_large(world: World) -> None:
    world.migrate()
    volumes.update(factories.context('admin'), world.made['golden'], {'name': 'named here'})
    world.execute("UPDATE volumes SET display_name = 'renamed there'")
    for number in range(40):
        world.execute(
            'INSERT INTO volume_glance_metadata (id, volume_id, key, value, deleted) VALUES (?, ?, ?, ?, 0)',
            *(5000 + number, world.made['plain'], f'k{number}', 'x' * 1000),
        )
    plan = world.migrate(apply=False)
    assert {one.id for one in plan.findings} >= {world.made['golden'], world.made['plain']}
    done = world.migrate()
    assert (plan.counts, plan.findings) == (done.counts, done.findings)


def test_pools_that_no_backend_reports_are_refused() -> None:
    with pytest.raises(Failure, match='cinderless@big#pool'):
        hosts.check_pools(databases.HOSTS, [FAST])


@pytest.fixture
def flaky_world(unreliable: Unreliable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kms: None) -> World:
    service = Simulation()
    service.install(monkeypatch)
    service.report()
    return World(*databases.database(tmp_path), service)


def test_calls_that_are_repeated_and_short_pages_change_nothing(unreliable: Unreliable, flaky_world: World) -> None:
    unreliable.resent, unreliable.page = every_write, 3
    report = flaky_world.migrate()
    assert report.total(Outcome.KEPT) == 0
    assert flaky_world.migrate().total(Outcome.NEW, Outcome.CHANGED, Outcome.KEPT, Outcome.REMOVED) == 0
    assert [one for one in flaky_world.verify().findings if one.table[0].isupper()] == []
    assert run.rollback(apply=True).total(Outcome.KEPT) == 0
    assert list(base.every(Volume, None)) == []


@pytest.mark.parametrize('every', [2, 3, 5])
def test_a_run_whose_answers_are_lost_is_repeated_until_it_is_done(
    unreliable: Unreliable, flaky_world: World, every: int
) -> None:
    """Each write whose answer is lost took effect: a later run finds it, and counts nothing twice."""
    writes = itertools.count(1)
    unreliable.lost = lambda operation, request: every_write(operation, request) and next(writes) % every == 0
    for _ in range(60):
        try:
            report = flaky_world.migrate()
        except (errors.ServiceUnavailable, errors.OutcomeUnknown):
            continue
        break
    unreliable.lost = no_call
    assert report.total(Outcome.KEPT) == 0
    assert flaky_world.migrate().total(Outcome.NEW, Outcome.CHANGED, Outcome.KEPT, Outcome.REMOVED) == 0
    assert [one for one in flaky_world.verify().findings if one.table[0].isupper()] == []
