"""Keys of encrypted volumes are brought from a Barbican that gives a secret only to a token of its project."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.clients.barbican import Secrets
from chalicelib.models import Secret, Volume, base
from chalicelib.operations import keys as operations
from chalicelib.operations import volumes
from cinderless.errors import Failure
from cinderless.migration import keys, run
from cinderless.migration.report import Outcome, Report
from cinderless.migration.source import open_source
from tests import factories
from tests.fake_barbican import FakeBarbican, serving
from tests.migration import databases
from tests.migration.test_run import World, kms
from tests.simulation import Simulation
from tests.small_dynamodb import SmallDynamoDB
from tests.unreliable import Unreliable, every_write

pytestmark = pytest.mark.xdist_group('cinder_run')

__all__ = ['kms']

ID, OTHER = '11111111-2222-3333-4444-555555555555', '99999999-2222-3333-4444-555555555555'

KEY = os.urandom(32)

PROJECTS = ('00000000000000000000000000000001', '00000000000000000000000000000002')


@pytest.fixture
def barbican() -> Iterator[FakeBarbican]:
    with serving(FakeBarbican()) as made:
        record = {'algorithm': 'aes', 'bit_length': 256, 'mode': 'cbc', 'status': 'ACTIVE'}
        made.secrets = {ID: (PROJECTS[0], record, KEY), OTHER: (PROJECTS[1], record, KEY[::-1])}
        yield made


@pytest.fixture
def world(simulation: Simulation, tmp_path: Path, kms: None) -> World:
    made = World(*databases.database(tmp_path), simulation)
    made.execute('UPDATE volumes SET encryption_key_id = ? WHERE id = ?', ID, made.made['plain'])
    made.execute('UPDATE snapshots SET encryption_key_id = ? WHERE id = ?', ID, made.made['snapshot'])
    made.execute('UPDATE volumes SET encryption_key_id = ? WHERE id = ?', OTHER, made.made['golden'])
    return made


def secrets_of(barbican: FakeBarbican, *projects: str) -> keys.SecretsOf:
    """Return what the operator's user may read: it has a role on these projects."""

    def found(project_id: str) -> Secrets:
        if project_id not in (projects or PROJECTS):
            raise Failure(f'no token of project {project_id}')
        return Secrets(barbican.url, keys._Token(f'{project_id}/creator'))

    return found


def migrate(world: World, found: keys.SecretsOf | None) -> Report:
    with open_source(f'sqlite:///{world.path}') as source:
        return run.migrate(source, databases.HOSTS, apply=True, secrets_of=found)


def test_keys_are_here_under_their_ids_and_open_the_volumes(
    world: World, barbican: FakeBarbican, tables: SmallDynamoDB, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    report = migrate(world, secrets_of(barbican))
    assert report.counts['Secret'] == {Outcome.NEW: 2}
    for project, id, key in ((PROJECTS[0], ID, KEY), (PROJECTS[1], OTHER, KEY[::-1])):
        secret = operations.get(factories.context(project_id=project), id)
        assert operations.payload(secret) == key
        assert (secret.algorithm, int(secret.bit_length)) == ('aes', 256)
    stored = str([table.items for table in tables.tables.values()])
    for text in (KEY.hex(), str(KEY)):
        assert text not in caplog.text + stored + str(report.document())
    barbican.requests.clear()
    assert migrate(world, secrets_of(barbican)).counts['Secret'] == {Outcome.SAME: 2}
    assert barbican.requests == [], 'a key that is here is not read again'


def test_a_key_that_barbican_refuses_is_reported_and_brought_later(world: World, barbican: FakeBarbican) -> None:
    del barbican.secrets[OTHER]
    report = migrate(world, secrets_of(barbican))
    assert {one.id: one.advice for one in report.findings if one.table == 'secrets'}.keys() == {OTHER}
    assert not report.is_complete
    report = migrate(world, secrets_of(barbican, PROJECTS[0]))
    assert [one.problem for one in report.findings if one.table == 'secrets']
    with pytest.raises(Failure):
        secrets_of(barbican, PROJECTS[0])(PROJECTS[1])
    barbican.secrets[OTHER] = (PROJECTS[1], {'algorithm': 'aes', 'bit_length': 256}, KEY)
    assert migrate(world, secrets_of(barbican)).counts['Secret'] == {Outcome.SAME: 1, Outcome.NEW: 1}


def test_a_token_of_another_project_reads_nothing(world: World, barbican: FakeBarbican) -> None:
    """An administrator of the cloud is refused, too, as Barbican's policy has it."""
    admin = Secrets(barbican.url, keys._Token('admin/admin'))
    report = migrate(world, lambda _: admin)
    assert report.counts['Secret'] == {Outcome.KEPT: 2}
    assert all('role creator' in one.advice for one in report.findings if one.table == 'secrets')
    assert list(base.every(Secret, None)) == []


def test_a_barbican_that_fails_keeps_no_record_away(world: World, barbican: FakeBarbican) -> None:
    barbican.faults = [500] * 20
    report = migrate(world, secrets_of(barbican))
    assert report.counts['Secret'][Outcome.KEPT] == 2
    assert world.volume('plain').encryption_key_id == ID


def test_without_keys_each_encrypted_volume_needs_a_decision(world: World, barbican: FakeBarbican) -> None:
    report = migrate(world, None)
    ids = {one.id for one in report.findings if 'is in Barbican' in one.problem}
    assert ids == {world.made[name] for name in ('plain', 'golden', 'snapshot')}
    migrate(world, secrets_of(barbican))
    assert [one for one in world.verify().findings if 'Barbican' in one.problem] == []
    assert [one for one in migrate(world, None).findings if 'Barbican' in one.problem] == []


def test_a_rollback_removes_keys_but_those_of_volumes_that_stay(world: World, barbican: FakeBarbican) -> None:
    migrate(world, secrets_of(barbican))
    volumes.update(factories.context('admin'), world.made['golden'], {'name': 'named here'})
    dry = run.rollback(apply=False)
    assert dry.counts['Secret'] == run.rollback(apply=True).counts['Secret'] == {Outcome.REMOVED: 1, Outcome.KEPT: 1}
    assert [secret.id for secret in base.every(Secret, None)] == [OTHER]
    assert [volume.id for volume in base.every(Volume, None)] == [world.made['golden']]


def test_the_key_of_a_volume_that_is_left_out_now_is_removed(world: World, barbican: FakeBarbican) -> None:
    migrate(world, secrets_of(barbican))
    world.execute("UPDATE volumes SET status = 'extending' WHERE id = ?", world.made['plain'])
    migrate(world, None)
    assert [secret.id for secret in base.every(Secret, None)] == [OTHER]


def test_lost_answers_bring_a_key_once(
    unreliable: Unreliable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kms: None, barbican: FakeBarbican
) -> None:
    service = Simulation()
    service.install(monkeypatch)
    service.report()
    world = World(*databases.database(tmp_path), service)
    world.execute('UPDATE volumes SET encryption_key_id = ? WHERE id = ?', ID, world.made['plain'])
    unreliable.resent = every_write
    assert migrate(world, secrets_of(barbican)).counts['Secret'] == {Outcome.NEW: 1}
    assert migrate(world, secrets_of(barbican)).counts['Secret'] == {Outcome.SAME: 1}


def test_a_token_is_of_the_project_and_the_url_that_of_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    import openstack

    given: list[Any] = []

    class Region:
        def __init__(self, **options: Any) -> None:
            given.append(options)

        def get_session(self) -> Any:
            return self

        def get_endpoint(self, service_type: str) -> str | None:
            return {'key-manager': 'http://keys.example/v1/'}[service_type]

        def get_token(self) -> str:
            return 'the token'

    class Config:
        def get_one(self, **options: Any) -> Region:
            return Region(**options)

    monkeypatch.setattr(openstack.config, 'OpenStackConfig', Config)
    found = keys._secrets('old', PROJECTS[1])
    assert given == [{'cloud': 'old', 'auth': {'project_id': PROJECTS[1], 'project_name': None}}]
    assert found._service._url == 'http://keys.example'
