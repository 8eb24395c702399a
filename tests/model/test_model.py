"""The reference model and the service answer alike, whatever two projects ask and however backends fail."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.counts import Counting
from tests.model.machine import Model
from tests.small_dynamodb import SmallDynamoDB

#: Runs, and requests in each. ``make model`` searches for longer, with a seed of its own that a failure prints.
RUNS, STEPS = int(os.environ.get('MODEL_RUNS', '100')), 50
SEED = int(os.environ.get('MODEL_SEED', '1'))

#: Requests that must have been accepted for each run, so that the model cannot pass by refusing everything: well below
#: what is usual, since Hypothesis leaves some rules out of each run.
FLOOR = {
    'create volume': 0.8, 'create snapshot': 0.1, 'create backup': 0.1, 'restore': 0.02, 'extend': 0.01,
    'retype': 0.03, 'revert': 0.02, 'delete volume': 0.1, 'offer': 0.05, 'accept': 0.01, 'reserve': 0.01,
    'attach in one step': 0.03, 'os-attach': 0.05, 'detach': 0.03,
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
    print(f'make model RUNS={RUNS} SEED={SEED} repeats this search')
    run_state_machine_as_test(seed(SEED)(Model), settings=limits)
    for name, number in Model.counts.items():
        counted(f'model: {name}', number)
    accepted = {name: Model.counts[f'{name} accepted'] / RUNS for name in FLOOR}
    assert {name: found for name, found in accepted.items() if found < FLOOR[name]} == {}
