"""Scrubs and restore drills: what they find, what they leave, and who may come in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Message, Volume
from chalicelib.operations import backup_checks, backups, quotas, services
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context
from tests.simulation import Simulation

#: GiB: three shards.
SIZE = 9

SCRUBBED = ['ScrubBackup', 'IsScrubbed', 'CompleteScrub']
DRILLED = [
    'PrepareScratch',
    *('RestoreScratch', 'IsRestored', 'FinishScratch', 'CompareScratch', 'IsCompared', 'CompleteDrill'),
]


@pytest.fixture
def backup(simulation: Simulation, make_volume: Callable[[int], Volume]) -> Backup:
    made = create_backup(context(), make_volume(SIZE))
    simulation.settle()
    return made.reload()


def check(simulation: Simulation, data: Data) -> None:
    """One volume, one backup, and nothing else."""
    invariants.check(simulation)
    assert data.paths() == []
    assert len(list(Volume.scan())) == 1


def spoil(data: Data, kind: str) -> None:
    """Turn a bit of one object of a kind."""
    [repository] = data.repositories.values()
    key = next(key for key in sorted(repository.objects) if key.startswith(f'{kind}/'))
    spoiled = bytearray(repository.objects[key])
    spoiled[-100] ^= 1
    repository.objects[key] = bytes(spoiled)


def short_of_time(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds that time is running short: each call does one step."""
    monkeypatch.setattr(simulation.lambda_context, 'milliseconds', 31_000)


@pytest.mark.parametrize('short', [False, True], ids=['at once', 'step by step'])
def test_a_scrub_that_passes(
    simulation: Simulation, data: Data, backup: Backup, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if short:
        short_of_time(simulation, monkeypatch)
    backup_checks.scrub(context(), backup.id)
    assert backup_checks.under_way(backup.reload()) == 'scrub'
    [execution] = simulation.settle()
    assert (execution.path == SCRUBBED) is not short
    found = backup.reload()
    assert (found.status, found.scrub['result'], found.scrub['sample']) == ('available', 'passed', 100)
    assert (found.scrub['blocks_checked'], found.scrub['blocks_damaged']) == (SIZE * 2048, 0)
    assert found.scrub['checked_at'] > backup.created_at
    check(simulation, data)


def test_a_sample_reads_a_part(simulation: Simulation, data: Data, backup: Backup) -> None:
    backup_checks.scrub(context(), backup.id, sample=1)
    simulation.settle()
    assert 0 < backup.reload().scrub['blocks_checked'] < SIZE * 2048


@pytest.mark.parametrize('kind', ['packs', 'shards', 'backups'])
def test_a_scrub_tells_of_damage(simulation: Simulation, data: Data, backup: Backup, kind: str) -> None:
    spoil(data, kind)
    backup_checks.scrub(context(), backup.id)
    simulation.settle()
    found = backup.reload()
    assert (found.status, found.scrub['result']) == ('available', 'damaged')
    assert 'The backup is damaged' in (found.scrub.get('reason') or found.scrub['damage'][0])
    check(simulation, data)


@pytest.mark.parametrize('kind', ['scrub', 'drill'])
def test_a_repository_that_is_out_of_reach_is_no_damage(
    simulation: Simulation, data: Data, backup: Backup, kind: str
) -> None:
    @contextlib.contextmanager
    def around(name: str) -> Any:
        if name == 's3 get':
            raise errors.RepositoryError(key='x', reason='it is out of reach')
        yield

    getattr(backup_checks, kind)(context(), backup.id)
    simulation.around = around
    simulation.settle()
    found = getattr(backup.reload(), kind)
    assert (found['result'], 'The backup repository could not do this' in found['reason']) == ('failed', True)
    check(simulation, data)


@pytest.mark.parametrize('short', [False, True], ids=['at once', 'step by step'])
@pytest.mark.parametrize('zeroed', [True, False], ids=['zeroed', 'old data'])
def test_a_drill_that_passes(
    simulation: Simulation, data: Data, backup: Backup, short: bool, zeroed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.zeroed = zeroed
    if short:
        short_of_time(simulation, monkeypatch)
    backup_checks.drill(context(), backup.id)
    scratch = Volume.find('project', backup_checks.scratch_id(backup.id, str(backup.reload().owner)))
    assert (scratch.status, scratch.name, scratch.size) == ('creating', f'drill-{backup.id}', SIZE)
    execution, removal = simulation.settle()
    assert execution.path == DRILLED
    assert removal.machine == 'delete_volume'
    found = backup.reload()
    assert (found.status, found.drill['result'], found.drill['blocks_checked']) == ('available', 'passed', SIZE * 2048)
    check(simulation, data)


def spoil_scratch(simulation: Simulation, data: Data, change: Callable[[Any], None]) -> None:
    """Change the scratch volume's data when it is restored."""
    done = []

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name.endswith('close_volume') and not done:
            [scratch] = [one for one in Volume.scan() if (one.name or '').startswith('drill-')]
            change(data.of(scratch))
            done.append(name)
        return contextlib.nullcontext()

    simulation.around = around


@pytest.mark.parametrize('stored', [True, False], ids=['data', 'zeroes'])
def test_a_drill_finds_what_a_reader_would_find_wrong(
    simulation: Simulation, data: Data, backup: Backup, stored: bool
) -> None:
    def change(disk: Any) -> None:
        offset = min(disk.tiles) * 65536 if stored else 3 * 1024**3 + 512
        disk.write(offset, bytes([disk.read(offset, 1)[0] ^ 1]))

    backup_checks.drill(context(), backup.id)
    spoil_scratch(simulation, data, change)
    simulation.settle()
    found = backup.reload()
    assert (found.drill['result'], found.drill['blocks_damaged']) == ('damaged', 1)
    assert found.drill['damage'][0].startswith('the volume differs from the backup at byte ')
    assert [one.resource_uuid for one in Message.scan()] == [backup.id]
    check(simulation, data)


@pytest.mark.parametrize('kind', ['packs', 'shards', 'backups'])
def test_a_drill_of_a_damaged_backup(simulation: Simulation, data: Data, backup: Backup, kind: str) -> None:
    spoil(data, kind)
    backup_checks.drill(context(), backup.id)
    simulation.settle()
    found = backup.reload()
    assert (found.status, found.drill['result']) == ('available', 'damaged')
    check(simulation, data)


def test_a_drill_that_finds_no_room(simulation: Simulation, data: Data, backup: Backup) -> None:
    for backend in simulation.backends.values():
        backend.fail('create_volume', *[backend.full(SIZE)] * 9)
    backup_checks.drill(context(), backup.id)
    simulation.settle()
    found = backup.reload()
    assert (found.status, found.drill['result']) == ('available', 'failed')
    check(simulation, data)


def test_a_drill_that_finds_no_place(simulation: Simulation, data: Data, backup: Backup) -> None:
    """The scratch volume was never on a backend: its record is deleted at once."""
    for host in simulation.backends:
        services.set_enabled(context('admin'), host, 'cinder-volume', False, 'full')
    backup_checks.drill(context(), backup.id)
    simulation.settle()
    found = backup.reload()
    assert (found.status, found.drill['result']) == ('available', 'failed')
    check(simulation, data)


def test_a_drill_counts_in_the_quota(simulation: Simulation, data: Data, backup: Backup) -> None:
    quotas.update('project', {'gigabytes': SIZE})
    with pytest.raises(errors.OverQuota):
        backup_checks.drill(context(), backup.id)
    assert backup.reload().in_flight is None
    check(simulation, data)


def test_one_check_at_a_time(simulation: Simulation, data: Data, backup: Backup) -> None:
    backup_checks.scrub(context(), backup.id)
    for another in (backup_checks.scrub, backup_checks.drill):
        with pytest.raises(errors.InvalidBackup, match='no other check of it under way'):
            another(context(), backup.id)
    simulation.settle()
    check(simulation, data)


@pytest.mark.parametrize('kind', ['scrub', 'drill'])
def test_a_request_that_comes_twice_is_one(simulation: Simulation, data: Data, backup: Backup, kind: str) -> None:
    caller = context()
    for _ in range(2):
        getattr(backup_checks, kind)(caller, backup.id)
    ran = len(simulation.settle())
    getattr(backup_checks, kind)(caller, backup.id)
    assert (len(simulation.settle()), ran) == (0, 1 if kind == 'scrub' else 2)


@pytest.mark.parametrize('kind', ['scrub', 'drill'])
@pytest.mark.parametrize('call', ['s3 get', 'cinderless@big write', 'cinderless@big read'])
def test_a_restore_takes_the_backup_over(
    simulation: Simulation, data: Data, backup: Backup, kind: str, call: str
) -> None:
    """The check ends without a result, and its scratch volume is deleted."""
    begun = []

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == call and not begun:
            begun.append(backups.restore(context(), backup.id, volume_id=backup.volume_id, name=None))
        return contextlib.nullcontext()

    getattr(backup_checks, kind)(context(), backup.id)
    simulation.around = around
    simulation.settle()
    if begun:
        assert getattr(backup.reload(), kind) is None
    assert backup.reload().status == 'available'
    check(simulation, data)


def test_a_delete_takes_the_backup_over(simulation: Simulation, data: Data, backup: Backup) -> None:
    backup_checks.drill(context(), backup.id)
    backups.delete(context(), backup.id)
    simulation.settle()
    assert list(Backup.scan()) == []
    check(simulation, data)


def test_a_scratch_volume_that_was_left_behind_is_removed(simulation: Simulation, data: Data, backup: Backup) -> None:
    backup_checks.drill(context(), backup.id)
    simulation.queue.clear()
    backups.reset_status(context('admin'), backup.id, 'available')
    simulation.reconcile()
    simulation.settle()
    check(simulation, data)
