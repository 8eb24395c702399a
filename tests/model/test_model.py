"""The reference model and the service answer alike, whatever two projects request and however backends fail."""

from __future__ import annotations

import importlib
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Model
from tests.run_statistics import Counting
from tests.small_dynamodb import SmallDynamoDB

#: Runs, and requests in each. ``make model`` searches for longer, with a seed of its own that a failure prints.
RUNS, STEPS = int(os.environ.get('MODEL_RUNS', '100')), 60
SEED = int(os.environ.get('MODEL_SEED', '1'))

#: Requests that must have been accepted for each run, so that the model cannot pass by refusing everything: well
#: below what is usual. Three standard deviations of a Poisson distribution are allowed for: of a rare request, few runs
#: may have none, many may not.
FLOOR = {
    'create volume': 0.33, 'create source_volid': 0.03, 'create snapshot_id': 0.02, 'create backup_id': 0.01,
    'delete volume': 0.05, 'extend': 0.03, 'retype': 0.03, 'metadata of volumes': 0.03, 'migrate': 0.03,
    'create snapshot': 0.1, 'delete snapshot': 0.05, 'revert': 0.02,
    'create backup': 0.08, 'create incremental backup': 0.02, 'delete backup': 0.01, 'restore': 0.02,
    'offer': 0.05, 'accept': 0.01, 'withdraw': 0.01,
    'reserve': 0.03, 'attach in one step': 0.01, 'connect attachment': 0.01, 'os-attach': 0.13, 'detach': 0.03,
    'create group': 0.13, 'create volume in group': 0.08, 'join group': 0.01, 'leave group': 0.02,
    'create group snapshot': 0.03, 'delete group snapshot': 0.01, 'create group from group_snapshot': 0.01,
    'create group from source_group': 0.01, 'delete group with volumes': 0.03,
    'reset volume': 0.05, 'reset backup': 0.01, 'force-delete volume': 0.01, 'set quota': 0.03,
    'unmanage volume': 0.2, 'manage volume': 0.1, 'unmanage snapshot': 0.1, 'manage snapshot': 0.02,
    'export': 0.1, 'import record': 0.01, 'import second record': 0.03, 'upload': 0.1, 'create from image': 0.03,
    'encrypt type': 0.1, 'decrypt type': 0.05, 'create qos': 0.1, 'associate qos': 0.03, 'disassociate qos': 0.05,
    'delete qos': 0.03,
}  # fmt: skip

#: The same of refusals, and of the faults that were met.
ENDINGS = {
    'refused': 5, 'answered in spite of a fault': 0.1, 'lost': 0.02,
    'settled with faults': 0.2, 'failed in spite of faults': 0.03, 'done in spite of faults': 0.2,
    'repeated under its key': 0.03, 'refused under a used key': 0.03, 'answered when repeated': 0.02,
    'stale reads': 0.5, 'work overtaken by an equal request': 0.1,
    'work with a function killed': 0.01, 'work with an operation resent': 0.01, 'work with an answer lost': 0.01,
}  # fmt: skip


def test_a_seed_draws_the_same_whatever_modules_are_loaded(
    repeatable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draws() -> list[int]:
        drawn: list[int] = []

        @seed(SEED)
        @settings(max_examples=300, database=None, phases=[Phase.generate])
        @given(st.integers(0, 10**6))
        def draw(number: int) -> None:
            drawn.append(number)

        draw()
        return drawn

    before = draws()
    monkeypatch.syspath_prepend(tmp_path)
    for number in range(20):  # each with numbers of its own
        (tmp_path / f'loaded_{number}.py').write_text(f'NUMBERS = {list(range(number * 1000, number * 1000 + 500))}')
        importlib.import_module(f'loaded_{number}')
    assert draws() == before


@pytest.mark.timeout(RUNS * 10)
def test_model_and_service_agree(tables: SmallDynamoDB, counted: Counting, repeatable: None) -> None:
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
    accepted = {name: Model.counts[f'{name} accepted'] for name in FLOOR}
    endings = {name: sum(count for key, count in Model.counts.items() if key.endswith(name)) for name in ENDINGS}
    floors = FLOOR | ENDINGS
    assert {name: found for name, found in (accepted | endings).items() if found < least(floors[name] * RUNS)} == {}


def least(expected: float) -> float:
    return expected - 3 * math.sqrt(expected)
