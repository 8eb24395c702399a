"""What each operation calls: counted in the simulation, held to a budget, and kept for docs/reference/cost.md.

docs/reference/cost.md computes dollars from the counts in docs/calls.json; ``make docs`` writes both. Reads and
writes are DynamoDB's units for items of up to 1 KiB; a write to an index is counted where the item has its key.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import tasks
from chalicelib.models import Volume, reading
from chalicelib.operations import attachments, backups, moves, pools, snapshots, volume_types, volumes
from docs.cost import CALLS
from tests.backup_factories import create_backup
from tests.chap import chap
from tests.data_backends import Data
from tests.factories import context, create_snapshot, create_volume, query
from tests.simulation import Simulation

__all__ = ['chap']

HOST = {'host': 'compute-1', 'initiator': 'iqn.1993-08.org.debian:01:aaa', 'ip': '10.0.0.11', 'multipath': False}

#: Operation -> the most AWS calls of its own on the happy path: DynamoDB, queue, start, invokes. What the poller
#: and the machine do beside is not counted, and what a driver calls is on the drivers page.
#: Three reads of a backup and of a restore are of their one range of data. A restore over an existing volume notes that
#: it begins to write.
#: The log of operations is an item more of the transactions that begin and end work, and no call. Three of those were
#: single writes, whose result came with them: now the record is read once more.
BUDGETS = {
    'create volume': 8,
    'create volume, second candidate': 11,
    'delete volume': 8,
    'extend volume': 7,
    'retype in place': 6,
    'create snapshot': 7,
    'delete snapshot': 7,
    'attach': 6,
    'attachment complete': 2,
    'detach': 5,
    'show volume': 1,
    'list 100 volumes': 1,
    'backup': 11,
    'restore': 11,
}

#: Standard workflows bill each transition; the happy path of a volume's creation has three.
MOST_TRANSITIONS = {'create volume': 3, 'delete volume': 4, 'extend volume': 4, 'create snapshot': 4}

#: Caches that expire by age make a count differ a little from run to run.
CHANCE = 2

Count = dict[str, int]


class Counter:
    """Counts calls while it wraps the simulation."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        service = name.split()[0]
        kind = service if service in ('sqs', 'states', 'lambda', 's3') else 'backend'
        self.counts[kind] += 1
        yield

    def dynamodb(self, operation: str, asked: dict[str, Any]) -> None:
        self.counts['dynamodb'] += 1
        items = asked.get('TransactItems')
        if items:
            self.counts['writes'] += 2 * len(items)
        elif operation == 'BatchGetItem':
            self.counts['reads'] += sum(len(table['Keys']) for table in asked['RequestItems'].values())
        elif operation in ('PutItem', 'UpdateItem', 'DeleteItem'):
            self.counts['writes'] += 1
        else:
            self.counts['reads'] += 1


@contextlib.contextmanager
def counting(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    counter, call = Counter(), Connection._make_api_call

    def around(connection: Connection, operation: str, asked: dict[str, Any], **facts: Any) -> Any:
        counter.dynamodb(operation, asked)
        return call(connection, operation, asked, **facts)

    def forgetful(event: dict[str, Any], context: Any) -> Any:
        """A worker is another process: it does not know the records of the requests."""
        known, last = dict(reading._related), dict(reading._last)
        reading.forget()
        try:
            return run(event, context)
        finally:
            reading._related.update(known)
            reading._last.update(last)

    run = tasks.run
    with monkeypatch.context() as patch:
        patch.setattr(tasks, 'run', forgetful)
        patch.setattr(Connection, '_make_api_call', around)
        patch.setattr(simulation, 'around', counter.around)
        yield counter


def measured(simulation: Simulation, monkeypatch: pytest.MonkeyPatch, request: Callable[[], Any]) -> Count:
    """What a request and the work that follows from it call; a machine's task is an invoke of its own."""
    with counting(simulation, monkeypatch) as counter:
        request()
        ran = simulation.settle()
    tasks = sum(len([name for name in execution.path if name[:2] != 'Is']) for execution in ran)
    transitions = sum(execution.transitions for execution in ran)
    return {**counter.counts, 'tasks': tasks, 'transitions': transitions}


def available(simulation: Simulation) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    return made.reload()


@pytest.fixture
def counts(chap: Simulation, monkeypatch: pytest.MonkeyPatch) -> dict[str, Count]:
    """Every operation once, on caches that are warm: what the second request of a process costs."""
    simulation, found = chap, {}
    for module in (volume_types, pools):
        monkeypatch.setattr(module, 'TTL', 3600)

    def measure(name: str, request: Callable[[], Any]) -> None:
        found[name] = measured(simulation, monkeypatch, request)

    _volumes(simulation, measure)
    _attachments(simulation, measure)
    _data(simulation, monkeypatch, measure)
    return found


Measure = Callable[[str, Callable[[], Any]], None]


def _volumes(simulation: Simulation, measure: Measure) -> None:
    admin, specs = context('admin'), {'vendor:speed': '7'}
    volume_types.create(admin, name='tuned', description=None, is_public=True, extra_specs=specs)
    for _ in range(2):
        volume = available(simulation)
        volumes.extend(context(), volume.id, 2)
        simulation.settle()
    measure('create volume', lambda: create_volume(context(), 1))
    simulation.big.fail('create_volume', simulation.big.full(1))
    measure('create volume, second candidate', lambda: create_volume(context(), 1))
    measure('extend volume', lambda: volumes.extend(context(), volume.id, 3))
    simulation.big.retype = 'done'
    measure('retype in place', lambda: moves.retype(context(), volume.id, 'tuned', 'never'))
    measure('create snapshot', lambda: create_snapshot(context(), volume))
    [snapshot] = snapshots.list_(context(), query())[0]
    measure('delete snapshot', lambda: snapshots.delete(context(), snapshot.id))
    measure('show volume', lambda: shown(volume.id))
    measure('list 100 volumes', lambda: volumes.list_(context(), query(limit=100)))
    measure('delete volume', lambda: volumes.delete(context(), volume.id))


def shown(id: str) -> None:
    """Show a volume when the names of types that are remembered have become too old."""
    volume_types._names.update({type_id: (0, name) for type_id, (_, name) in volume_types._names.items()})
    assert volume_types.shown_name(volumes.show(context(), id).volume_type_id)


def _attachments(simulation: Simulation, measure: Measure) -> None:
    made: list[Any] = []
    volume = available(simulation)
    facts: dict[str, Any] = {'volume_id': volume.id, 'instance_id': 'server', 'connector': HOST, 'mode': 'rw'}
    measure('attach', lambda: made.append(attachments.create(context(), **facts)))
    measure('attachment complete', lambda: attachments.complete(context(), made[0].id))
    measure('detach', lambda: attachments.delete(context(), made[0].id))


def _data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch, measure: Measure) -> None:
    data = Data(simulation, monkeypatch)
    volume = available(simulation)
    data.of(volume)
    made: list[Any] = []
    measure('backup', lambda: made.append(create_backup(context(), volume)))
    measure('restore', lambda: backups.restore(context(), made[0].id, volume_id=volume.id, name=None))


def test_every_operation_keeps_its_budget_and_the_document_tells_the_truth(counts: dict[str, Count]) -> None:
    calls = {
        name: sum(count.get(kind, 0) for kind in ('dynamodb', 'sqs', 'states', 'lambda'))
        for name, count in counts.items()
    }
    assert {name: number for name, number in calls.items() if number > BUDGETS[name]} == {}
    for name, most in MOST_TRANSITIONS.items():
        assert counts[name]['transitions'] <= most, name
    if os.environ.get('WRITE_CALLS'):
        CALLS.write_text(json.dumps(counts, indent=1, sort_keys=True) + '\n')
    known: dict[str, Count] = json.loads(CALLS.read_text())
    assert set(known) == set(counts)
    assert [name for name in counts if _is_far(known[name], counts[name])] == [], (
        'docs/calls.json is old: run make docs'
    )


def _is_far(one: Count, other: Count) -> bool:
    return any(abs(one.get(kind, 0) - other.get(kind, 0)) > CHANCE for kind in {*one, *other})
