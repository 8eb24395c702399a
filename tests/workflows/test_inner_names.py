"""Whatever fails, and whatever its text, a member reads no name of the inside: messages, reasons, records, refusals.

An administrator reads the whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib import errors
from chalicelib.models import Volume
from chalicelib.operations import backups, moves, reverts, snapshots, volumes
from chalicelib.rules.sentences import OWN
from tests.api.front_door import Answer, Caller, FrontDoor
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.fake_driver import Object
from tests.inner_names import TEXT, inner_names_in
from tests.simulation import Simulation

#: What a verb may raise: the project's errors with the backend's text, AWS's own, and a mistake.
FAULTS: dict[str, Callable[[], Exception]] = {
    'DriverError': lambda: errors.DriverError(backend='cinderless@big', reason=TEXT),
    'BackendUnavailable': lambda: errors.BackendUnavailable(backend='cinderless@big', reason=TEXT),
    'BackendMisconfigured': lambda: errors.BackendMisconfigured(backend='cinderless@big', reason=TEXT),
    'BackendFull': lambda: errors.BackendFull(backend='cinderless@big', size=1, reason=TEXT),
    'ProviderNotFound': lambda: errors.ProviderNotFound(backend='cinderless@big', object=TEXT),
    'VolumeIsBusy': lambda: errors.VolumeIsBusy(id='v', reason=TEXT),
    'SnapshotIsBusy': lambda: errors.SnapshotIsBusy(id='s', reason=TEXT),
    'NotSupported': lambda: errors.NotSupported(backend='cinderless@big', operation=TEXT, reason=TEXT),
    'DeviceError': lambda: errors.DeviceError(device=TEXT, reason=TEXT),
    'ServiceUnavailable': lambda: errors.ServiceUnavailable(reason=TEXT),
    'ClientError': lambda: ClientError(
        {'Error': {'Code': 'UnauthorizedOperation', 'Message': TEXT}}, 'DescribeVolumes'
    ),
    'RuntimeError': lambda: RuntimeError(TEXT),
}

Work = Callable[[Simulation, Volume], Any]


def create(simulation: Simulation, volume: Volume) -> None:
    create_volume(context(), 5)


def clone(simulation: Simulation, volume: Volume) -> None:
    create_volume(context(), None, source_volid=volume.id)


def delete(simulation: Simulation, volume: Volume) -> None:
    volumes.delete(context(), volume.id)


def extend(simulation: Simulation, volume: Volume) -> None:
    volumes.extend(context(), volume.id, int(volume.size) + 1)


def snapshot(simulation: Simulation, volume: Volume) -> None:
    create_snapshot(context(), volume)


def delete_snapshot(simulation: Simulation, volume: Volume) -> None:
    made = create_snapshot(context(), volume)
    simulation.settle()
    snapshots.delete(context(), made.id)


def revert(simulation: Simulation, volume: Volume) -> None:
    simulation.big.revert = True
    made = create_snapshot(context(), volume)
    simulation.settle()
    reverts.revert(context(microversion=(3, 40)), volume.id, made.id)


def migrate(simulation: Simulation, volume: Volume) -> None:
    moves.migrate(
        context('admin'), volume.id, host='cinderless@fast#pool', cluster=None, force_host_copy=True, lock_volume=False
    )


def manage(simulation: Simulation, volume: Volume) -> None:
    from tests.workflows.test_managing import manage as asked

    simulation.big.objects['legacy'] = Object('pool', 1)
    simulation.report()
    asked()


def back_up(simulation: Simulation, volume: Volume) -> None:
    create_backup(context(), volume)


def restore(simulation: Simulation, volume: Volume) -> None:
    made = create_backup(context(), volume)
    simulation.settle()
    backups.restore(context(), made.id, volume_id=None, name=None)


def group(simulation: Simulation, volume: Volume) -> None:
    create_group(context())


def group_snapshot(simulation: Simulation, volume: Volume) -> None:
    made = create_group(context())
    simulation.settle()
    create_volume(context(), 1, group_id=made.id, volume_type=made.volume_type_ids[0])
    simulation.settle()
    create_group_snapshot(context(), made)


#: (verb that fails, work that calls it).
WORK: tuple[tuple[str, Work], ...] = (
    ('create_volume', create),
    ('create_cloned_volume', clone),
    ('delete_volume', delete),
    ('extend_volume', extend),
    ('create_snapshot', snapshot),
    ('delete_snapshot', delete_snapshot),
    ('revert_to_snapshot', revert),
    ('create_volume', migrate),
    ('open_volume', migrate),
    ('manage_existing_get_size', manage),
    ('manage_existing', manage),
    ('create_snapshot', back_up),
    ('open_snapshot', back_up),
    ('delete_snapshot', back_up),
    ('create_volume', restore),
    ('open_volume', restore),
    ('create_snapshot', group_snapshot),
)

SEEN = (
    '/volumes/detail',
    '/snapshots/detail',
    '/backups/detail',
    '/groups/detail',
    '/group_snapshots/detail',
    '/attachments/detail',
    '/backup-schedules',
    '/messages',
)


def seen_by(role: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that a caller can read of the project."""
    caller = FrontDoor.open(monkeypatch).caller(role, 'project')
    answers = [caller.get(path, at='3.71') for path in SEEN]
    assert [answer.status for answer in answers] == [200] * len(SEEN)
    return ''.join(answer.text for answer in answers)


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize(('verb', 'work'), WORK, ids=lambda value: getattr(value, '__name__', str(value)))
def test_a_failure_shows_no_name_of_the_inside(
    simulation: Simulation,
    data: Data,
    volume: Volume,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    work: Work,
    fault: str,
) -> None:
    """``volume`` is on the big backend."""
    faults = [FAULTS[fault]() for _ in range(20)]
    for backend in simulation.backends.values():
        backend.fail(verb, *(None for _ in range(_earlier(verb, work))), *faults)
    with contextlib.suppress(errors.CinderlessError):
        work(simulation, volume)
    with contextlib.suppress(type(faults[0])):
        simulation.settle()
    assert inner_names_in(seen_by('member', monkeypatch)) == []


def _earlier(verb: str, work: Work) -> int:
    """Calls of the verb that must do before the one that fails."""
    return 1 if (verb, work) in (('create_volume', group_snapshot),) else 0


def test_an_administrator_reads_the_whole(simulation: Simulation, data: Data, volume: Volume, monkeypatch: Any) -> None:
    simulation.big.fail('delete_volume', *[FAULTS['DriverError']() for _ in range(20)])
    volumes.delete(context(), volume.id)
    simulation.settle()
    member = FrontDoor.open(monkeypatch).caller('member', 'project')
    [message] = member.get('/messages', at='3.71').body['messages']
    assert inner_names_in(message['user_message']) == []
    assert 'Try again later, or contact your administrator.' in message['user_message']
    whole = member.door.caller('admin', 'project').get(f'/messages/{message["id"]}', at='3.71')
    assert TEXT in whole.body['message']['user_message']


def kinds() -> list[type[errors.CinderlessError]]:
    below = [*_below(errors.DriverError), *_below(errors.DeviceError)]
    return [errors.ServiceUnavailable, errors.CinderlessError, *(one for one in below if one not in OWN)]


def _below(kind: type[errors.CinderlessError]) -> list[type[errors.CinderlessError]]:
    return [kind, *(inner for one in kind.__subclasses__() for inner in _below(one))]


@pytest.mark.parametrize('kind', kinds(), ids=lambda kind: kind.__name__)
def test_a_refusal_shows_no_name_of_the_inside(
    simulation: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch, kind: type[errors.CinderlessError]
) -> None:
    """The worker of a synchronous request raises, through the mounted routes."""
    from chalicelib import aws

    def fails(*_: Any, **__: Any) -> Any:
        raise kind(TEXT)

    monkeypatch.setattr(aws, 'invoke', fails)
    door = FrontDoor.open(monkeypatch)
    for role in ('member', 'admin'):
        volumes.reset_status(context('admin'), volume.id, 'available', None, None)
        answer = _attach(door.caller(role, 'project'), volume)
        assert answer.status >= 500
        assert answer.headers['x-openstack-request-id'].startswith('req-')
        if role == 'member':
            assert inner_names_in(answer.text) == []
        else:
            assert TEXT in json.loads(answer.text).popitem()[1]['message']


def _attach(caller: Caller, volume: Volume) -> Answer:
    body = {'attachment': {'volume_uuid': volume.id, 'connector': {'initiator': 'iqn.2026-11.example:h', 'host': 'h'}}}
    return caller.post('/attachments', body, at='3.27')
