"""Events of whole workflows: which, in which order, what they hold, and that nothing depends on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import aws, config, errors
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import backups, snapshots, volumes
from chalicelib.rules import notifications as rules
from chalicelib.tasks import TASKS, notifications
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import Simulation


@pytest.fixture
def published(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """Everything that was published, in order."""
    monkeypatch.setenv('NOTIFICATION_BUS', 'bus')
    config.settings.cache_clear()
    events: list[dict[str, Any]] = []

    def publish(bus: str, kind: str, detail: str) -> None:
        message = json.loads(detail)
        assert (bus, kind) == ('bus', message['event_type'])
        events.append(message)

    monkeypatch.setattr(aws, 'publish', publish)
    yield events
    monkeypatch.undo()
    config.settings.cache_clear()


def names(published: list[dict[str, Any]]) -> list[str]:
    return [message['event_type'] for message in published]


def volume(simulation: Simulation) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    return made.reload()


def test_a_volume_from_its_beginning_to_its_end(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    made = volume(simulation)
    volumes.extend(context(), made.id, 2)
    simulation.settle()
    volumes.delete(context(), made.id)
    simulation.settle()
    assert names(published) == [
        'volume.create.start', 'volume.create.end', 'volume.resize.start', 'volume.resize.end', 'volume.delete.start',
        'volume.delete.end',
    ]  # fmt: skip
    assert [message['payload']['size'] for message in published] == [1, 1, 1, 2, 2, 2]


def test_snapshots(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    snapshot = create_snapshot(context(), volume(simulation))
    simulation.settle()
    snapshots.delete(context(), snapshot.id)
    simulation.settle()
    assert names(published)[2:] == [
        'snapshot.create.start', 'snapshot.create.end', 'snapshot.delete.start', 'snapshot.delete.end',
    ]  # fmt: skip


def test_backups(simulation: Simulation, published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    Data(simulation, monkeypatch)
    backup = create_backup(context(), volume(simulation))
    simulation.settle()
    backups.restore(context(), backup.id, volume_id=None, name=None)
    simulation.settle()
    backups.delete(context(), backup.id)
    simulation.settle()
    assert names(published)[2:] == [
        'backup.create.start', 'backup.create.end', 'volume.create.start', 'backup.restore.start', 'backup.restore.end',
        'backup.delete.start', 'backup.delete.end',
    ]  # fmt: skip


def test_what_one_holds(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    caller = context()
    made = create_volume(caller, 1, metadata={'k': 'v'})
    simulation.settle()
    message = published[1]
    assert {key: message[key] for key in ('publisher_id', 'priority', '_context_request_id')} == {
        'publisher_id': f'volume.{made.reload().host}',
        'priority': 'INFO',
        '_context_request_id': caller.request_id,
    }
    facts = message['payload']
    assert (facts['volume_id'], facts['tenant_id'], facts['status']) == (made.id, 'project', 'available')
    assert (facts['display_name'], facts['metadata'], facts['user_id']) == ('data', {'k': 'v'}, 'member-user')


def test_a_failure_has_no_end(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    create_volume(context(), 500)
    simulation.settle()
    assert names(published) == ['volume.create.start']


def test_a_repeated_task_repeats_its_id(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    create_volume(context(), 1)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    simulation.run_machines()
    starts = [message['message_id'] for message in published if message['event_type'] == 'volume.create.start']
    assert len(starts) == 2
    assert len(set(starts)) == 1


def test_a_late_task_publishes_nothing(simulation: Simulation, published: list[dict[str, Any]]) -> None:
    made = volume(simulation)
    [execution] = simulation.executions.values()
    with pytest.raises(errors.StateChanged):
        simulation.work('schedule', execution.payload)
    assert len(published) == 2
    volumes.delete(context(), made.id)
    simulation.settle()
    with pytest.raises(errors.StateChanged):
        simulation.work('schedule', execution.payload)
    assert len(published) == 4


def test_nothing_depends_on_them(
    simulation: Simulation, published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: str) -> None:
        raise ConnectionError('EventBridge is out of reach')

    monkeypatch.setattr(aws, 'publish', failing)
    assert volume(simulation).status == 'available'
    invariants.check(simulation)


def test_without_a_bus_nothing_is_asked(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, 'publish', lambda *_: pytest.fail('there is no bus'))
    assert volume(simulation).status == 'available'


@pytest.mark.parametrize(('filler', 'count'), [('x', 500), ('\N{GRINNING FACE}', 55)])
def test_they_are_bounded(tables: None, filler: str, count: int) -> None:
    metadata = {f'{number:03}': filler * 255 for number in range(count)}
    facts = {'created_at': base.now(), 'user_id': 'u', 'size': 1, 'status': 'available', 'name': filler * 255}
    record = Volume('project', 'id', metadata=metadata, volume_image_metadata=metadata, **facts)  # beyond its bounds
    text = notifications.envelope('volume.create.end', record, 'req-1')
    assert len(text.encode()) <= notifications.LONGEST
    assert json.loads(text)['payload']['volume_id'] == record.id


def test_every_notice_names_what_there_is() -> None:
    records = {'volume': Volume, 'snapshot': Snapshot, 'backup': Backup}
    for task, notice in rules.NOTICES.items():
        assert task in TASKS
        assert notice.start or notice.end
        attributes = records[notice.resource].get_attributes()
        assert {attribute for _, attribute in rules.FIELDS[notice.resource]} <= set(attributes)


@pytest.mark.parametrize('word', ['key', 'seal', 'secret', 'connect', 'auth', 'password', 'operation', 'provider'])
def test_no_secret_has_a_place(word: str) -> None:
    assert not [name for fields in rules.FIELDS.values() for pair in fields for name in pair if word in name]


def test_the_bus_takes_them(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against moto's EventBridge; one that refuses is an error here, and a line in the log above."""
    import boto3

    boto3.client('events').create_event_bus(Name='bus')
    aws._publisher.cache_clear()
    aws.publish('bus', 'volume.create.end', '{}')
    monkeypatch.setattr(aws, '_publisher', lambda: Refusing())
    with pytest.raises(errors.ServiceUnavailable, match='EventBridge'):
        aws.publish('bus', 'volume.create.end', '{}')


@pytest.mark.parametrize(
    ('code', 'refusals', 'calls'),
    [('ThrottlingException', 3, 4), ('InternalFailure', 1, 2), ('ThrottlingException', 9, 4), ('NotAuthorized', 9, 1)],
)
def test_an_entry_that_is_refused_for_a_moment_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, code: str, refusals: int, calls: int
) -> None:
    """PutEvents answers 200 then, so the SDK repeats nothing."""
    bus = Refusing(code, refusals)
    monkeypatch.setattr(aws, '_publisher', lambda: bus)
    monkeypatch.setattr(aws, 'PUBLISH_PAUSE', 0.001)
    if refusals < 4:
        aws.publish('bus', 'volume.create.end', '{}')
    else:
        with pytest.raises(errors.ServiceUnavailable, match=code):
            aws.publish('bus', 'volume.create.end', '{}')
    assert bus.calls == calls


class Refusing:
    def __init__(self, code: str = 'ThrottlingException', refusals: int = 9) -> None:
        self.code, self.refusals, self.calls = code, refusals, 0

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 - AWS's own name
        self.calls += 1
        if self.calls > self.refusals:
            return {'FailedEntryCount': 0, 'Entries': [{'EventId': '1'}]}
        return {'FailedEntryCount': 1, 'Entries': [{'ErrorCode': self.code}]}
