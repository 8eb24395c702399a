"""What the scheduled functions call while no client does anything: docs/idle.json, from which the cost page computes.

Counted with one backend and no records. ``tables`` are the pairs of function and table: DynamoDB calls KMS for each.
"""

from __future__ import annotations

import collections
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib.operations import reconciliations
from chalicelib.tasks import backend_reconciliation, reconcile, schedules
from docs.cost import IDLE_CALLS
from tests.simulation import Simulation

Count = dict[str, int]


@pytest.fixture
def counts(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> dict[str, Count]:
    """{what runs: its calls}, the second time in each process."""
    del simulation.backends['cinderless@fast']
    calls: list[tuple[str, str, int]] = []
    invoked: list[str] = []
    within: list[str] = []
    call, invoke = Connection._make_api_call, simulation.invoke

    def noted(connection: Connection, operation: str, asked: dict[str, Any], **facts: Any) -> Any:
        calls.append((operation, str(asked.get('TableName')), len(within)))
        return call(connection, operation, asked, **facts)

    def entered(function: str, task: str, payload: dict[str, Any], **facts: Any) -> Any:
        invoked.append(task)
        within.append(task)
        try:
            return invoke(function, task, payload, **facts)
        finally:
            within.pop()

    monkeypatch.setattr(Connection, '_make_api_call', noted)
    monkeypatch.setattr('chalicelib.aws.invoke', entered)

    def measured(run: Callable[[], Any]) -> Count:
        run()
        calls.clear()
        invoked.clear()
        run()
        return _counted(calls, len(invoked))

    report = measured(simulation.report)
    compare = measured(lambda: _compared(monkeypatch))
    return {
        'reconcile': measured(lambda: reconcile.run({})),
        'backup_schedules': measured(schedules.run),
        'report_pools': report,
        'comparison': compare,
    }


def _compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """One comparison, which is due."""
    with monkeypatch.context() as patch:
        patch.setattr(backend_reconciliation, 'INTERVAL', -1)
        backend_reconciliation.run(['cinderless@big'])
    assert reconciliations.report_of('cinderless@big') is not None


def _counted(calls: list[tuple[str, str, int]], invokes: int) -> Count:
    found: collections.Counter[str] = collections.Counter({'invokes': invokes})
    for operation, _, _ in calls:
        found['writes' if operation in ('PutItem', 'UpdateItem', 'DeleteItem') else 'reads'] += 1
    found['tables'] = len({(table, is_worker) for _, table, is_worker in calls})
    return dict(found)


def test_an_idle_month_is_computed_from_what_runs(counts: dict[str, Count]) -> None:
    if os.environ.get('WRITE_CALLS'):
        IDLE_CALLS.write_text(json.dumps(counts, indent=1, sort_keys=True) + '\n')
    assert json.loads(IDLE_CALLS.read_text()) == counts, 'docs/idle.json is old: run make docs'


def test_an_idle_reconciler_reads_one_index_of_each_kind_and_writes_nothing(counts: dict[str, Count]) -> None:
    assert counts['reconcile'] == {'invokes': 0, 'reads': len(reconcile.KINDS), 'tables': len(reconcile.KINDS)}
    assert counts['backup_schedules'] == {'invokes': 0, 'reads': 1, 'tables': 1}
