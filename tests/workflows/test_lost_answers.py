"""Every answer of every call is lost: repeated by the SDK, no effect; given up, the service recovers automatically.

The workflows are those of the crash matrix; here are the requests beside that end at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.aws_errors import translation
from chalicelib.models import Transfer
from chalicelib.operations import (
    attachments,
    backup_schedules,
    default_types,
    qos_specs,
    quotas,
    services,
    snapshots,
    transfers,
    type_specs,
    volume_types,
    volumes,
)
from tests.factories import context
from tests.run_statistics import Counting
from tests.simulation import Simulation
from tests.unreliable import errors_of_botocore
from tests.workflows.crashes import Crasher, LostAnswer, Refusal, Scenario, Stage, outcome
from tests.workflows.test_crashes import SCENARIOS, noting, volume, volume_with_snapshot

ADMIN = context('admin')

HOST = {'host': 'compute-1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '10.0.0.11', 'multipath': False}


def insist(call: Callable[[], Any]) -> Any:
    """As a client does it whose request would otherwise leave the volume as it is."""
    try:
        return call()
    except (errors.ServiceUnavailable, errors.AwsRefused):
        return call()


def attach(simulation: Simulation, made: Any) -> Any:
    """Attach as a client does that looks before it repeats, as the error requests."""
    facts: dict[str, Any] = {'volume_id': made.id, 'instance_id': 'server', 'connector': HOST, 'mode': 'rw'}
    try:
        attachment = attachments.create(context(), **facts)
    except (errors.ServiceUnavailable, errors.BackendUnavailable):
        for left in made.reload().attachments:
            attachments.delete(context(), left)
        attachment = attachments.create(context(), **facts)
    insist(lambda: attachments.complete(context(), attachment.id))
    return attachment


def reserve(simulation: Simulation, made: Any) -> Any:
    return attachments.create(context(), volume_id=made.id, instance_id='server', connector=None, mode='rw')


def attached(simulation: Simulation) -> Any:
    made = volume(simulation)
    return attach(simulation, made)


def maintained(simulation: Simulation) -> Any:
    made = volume(simulation)
    volumes.reset_status(ADMIN, made.id, 'maintenance', None, None)
    return made


def reset(made: Any) -> None:
    insist(lambda: volumes.reset_status(ADMIN, made.id, 'available', None, None))


def offered(simulation: Simulation) -> tuple[Transfer, str]:
    made = volume_with_snapshot(simulation)[0]
    simulation.settle()
    return transfers.create(context(), made.id, name=None, no_snapshots=False, allow_encrypted=False)


def typed(simulation: Simulation) -> Any:
    return volume_types.create(ADMIN, name='t', description=None, is_public=True, extra_specs={'a': 'b'})


def specified(simulation: Simulation) -> Any:
    return typed(simulation), qos_specs.create(ADMIN, name='q', consumer='back-end', specs={'a': 'b'})


def scheduled(simulation: Simulation) -> Any:
    return backup_schedules.create(context(), volume_id=volume(simulation).id, cron='0 3 * * *')


REQUESTS = [
    Scenario('attach', volume, attach),
    Scenario('reserve', volume, reserve),
    Scenario('detach', attached, lambda _, made: attachments.delete(context(), made.id)),
    Scenario('offer', volume, lambda _, made: transfers.create(
        context(), made.id, name=None, no_snapshots=False, allow_encrypted=False)),
    Scenario('accept', offered, lambda _, made: transfers.accept(context(project_id='other'), made[0].id, made[1])),
    Scenario('withdraw', offered, lambda _, made: transfers.delete(context(), made[0].id)),
    Scenario('metadata', volume, lambda _, made: volumes.set_metadata(context(), made.id, {'a': 'b'}, False)),
    Scenario('rename', volume, lambda _, made: volumes.update(context(), made.id, {'name': 'n'})),
    Scenario('reset', maintained, lambda _, made: reset(made)),
    Scenario('rename a snapshot', volume_with_snapshot, lambda _, made: snapshots.update(
        context(), made[1].id, {'name': 'n'})),
    Scenario('quota', lambda _: None, lambda *_: quotas.update('project', {'volumes': 7})),
    Scenario('type', lambda _: None, lambda simulation, _: typed(simulation)),
    Scenario('rename a type', typed, lambda _, made: volume_types.update(ADMIN, made.id, {'name': 'u'})),
    Scenario('delete a type', typed, lambda _, made: volume_types.delete(ADMIN, made.id)),
    Scenario('extra specs', typed, lambda _, made: type_specs.set_(ADMIN, made.id, {'c': 'd'})),
    Scenario('default type', typed, lambda _, made: default_types.set_(ADMIN, 'project', made.id)),
    Scenario('associate', specified, lambda _, made: qos_specs.associate(ADMIN, made[1].id, made[0].id)),
    Scenario('delete qos specs', specified, lambda _, made: qos_specs.delete(ADMIN, made[1].id)),
    Scenario('schedule', volume, lambda _, made: backup_schedules.create(
        context(), volume_id=made.id, cron='0 3 * * *')),
    Scenario('delete a schedule', scheduled, lambda _, made: backup_schedules.delete(context(), made.id)),
    Scenario('freeze', lambda _: None, lambda *_: services.set_frozen(ADMIN, 'cinderless@big', True)),
]  # fmt: skip


EVERY = [*SCENARIOS, *REQUESTS]


@pytest.mark.parametrize('scenario', EVERY, ids=lambda scenario: scenario.name)
def test_every_answer_that_the_sdk_repeats(
    scenario: Scenario, tables: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    """The request returns what it would have, without an error, and everything ends as it would have."""
    stage, trace = Stage(scenario, monkeypatch), Crasher()
    expected = outcome(stage.play(trace))
    assert trace.calls
    for index in range(len(trace.calls)):
        with noting(trace, index):
            assert outcome(stage.play(LostAnswer(index))) == expected
    counted('points where a repeated answer is lost', len(trace.calls))


@pytest.mark.parametrize('scenario', EVERY, ids=lambda scenario: scenario.name)
def test_every_answer_that_never_comes(
    scenario: Scenario, tables: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    """The caller gets an error, which may be wrong; nothing is lost, doubled or stuck."""
    stage, trace = Stage(scenario, monkeypatch), Crasher()
    stage.play(trace)
    for index in range(len(trace.calls)):
        with noting(trace, index):
            stage.play(LostAnswer(index, gives_up=True))
    counted('points where an answer never comes', len(trace.calls))


#: The errors of the SDK by what they mean: not done, perhaps done, refused.
SORTS = [
    [error for error in errors_of_botocore() if type(translation(error, 'dynamodb:PutItem')) is sort]
    for sort in (errors.ServiceUnavailable, errors.OutcomeUnknown, errors.AwsRefused)
]


@pytest.mark.parametrize('number', range(len(EVERY)), ids=[scenario.name for scenario in EVERY])
def test_every_error_of_the_sdk_at_every_write(
    number: int, tables: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    """The caller gets one of the project's errors, a workflow continues or fails with a reason; nothing is left over.

    Each write meets an error of each sort; which one depends on the scenario and the write.
    """
    stage, trace = Stage(EVERY[number], monkeypatch), Crasher()
    stage.play(trace)
    points = [index for index, call in enumerate(trace.calls) if call.startswith('dynamodb')]
    for index, sort in itertools.product(points, SORTS):
        error = sort[(number + index) % len(sort)]
        with noting(trace, (index, error)):
            refusal = Refusal(index, error=error)
            stage.play(refusal)
            assert f'{trace.calls[index]}, refused' in refusal.calls
    counted('writes that met an error of the SDK', len(points) * len(SORTS))
