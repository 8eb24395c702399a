"""The reference model and the service answer alike, whatever two projects ask and however backends fail."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counts import Counting
from tests.model.machine import Model
from tests.small_dynamodb import SmallDynamoDB

#: Runs, and requests in each. A long search: ``make model RUNS=2000``; SEED repeats one.
RUNS, STEPS = int(os.environ.get('MODEL_RUNS', '100')), 30

#: Requests that a run of this many must have had accepted, so that the model cannot pass by refusing everything.
FLOOR = {
    'create volume': 1.0, 'create snapshot': 0.3, 'create backup': 0.2, 'restore': 0.02, 'extend': 0.2,
    'retype': 0.2, 'revert': 0.02, 'offer': 0.1, 'accept': 0.02, 'reserve': 0.1, 'attach in one step': 0.1,
    'detach': 0.1, 'delete volume': 0.3,
}  # fmt: skip


@pytest.mark.timeout(RUNS * 10)
def test_model_and_service_agree(tables: SmallDynamoDB, counted: Counting) -> None:
    Model.store = tables
    Model.counts.clear()
    limits = settings(
        max_examples=RUNS,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    machine = seed(int(os.environ['MODEL_SEED']))(Model) if 'MODEL_SEED' in os.environ else Model
    run_state_machine_as_test(machine, settings=limits)
    for name, number in Model.counts.items():
        counted(f'model: {name}', number)
    short = {name: Model.counts[f'{name} accepted'] for name in FLOOR}
    assert all(short[name] >= FLOOR[name] * RUNS for name in FLOOR), short
