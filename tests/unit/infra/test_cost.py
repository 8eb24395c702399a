"""The cost page: an idle month within its budget, and rows recomputed by hand from AWS's published prices."""

from __future__ import annotations

import json

import pytest

from docs import cost
from infra import render

#: Dollars of an idle month with the default parameters.
BUDGET = 2.00


def test_an_idle_month_keeps_its_budget() -> None:
    assert sum(cost.idle().values()) <= BUDGET


#: Row -> the same by hand: us-east-1, 30 days.
BY_HAND = {
    # 5 pollers, a receive each 20 s: 648,000 requests at $0.40 a million.
    "SQS, the mapping's polling (5 pollers, 20 s each)": 648_000 / 1e6 * 0.40,
    # 43,200 invokes at $0.20 a million; 0.1 s with 0.5 GB; 5 queries of half a unit at $0.125 a million; 450 bytes.
    '`reconcile`, each minute': 0.00864 + 43_200 * 0.05 * 0.0000166667 + 43_200 * 2.5 * 0.125e-6 + 0.01944 * 0.5,
    # 43,200 invokes; 0.05 s with 0.5 GB; half a unit; 450 bytes.
    '`backup_schedules`, each minute': 0.00864
    + 43_200 * 0.025 * 0.0000166667
    + 43_200 * 0.5 * 0.125e-6
    + 0.01944 * 0.5,
    # $0.25 a GB stored and $0.20 a GB in continuous backups.
    'DynamoDB storage and recovery, 100 MB': 0.025 + 0.020,
    'CloudWatch alarms, 3': 0.30,
}


@pytest.mark.parametrize('row', BY_HAND)
def test_rows_recomputed_by_hand(row: str) -> None:
    assert cost.idle()[row] == pytest.approx(BY_HAND[row], rel=0.001)


def test_the_page_counts_the_alarms_and_schedules_of_the_template() -> None:
    resources = json.loads((render.templates() / 'plain.json').read_text())['Resources'].values()
    alarms = [body for body in resources if body['Type'] == 'AWS::CloudWatch::Alarm']
    always = [body for body in alarms if 'Condition' not in body]
    assert (len(always), len(alarms) - len(always)) == (cost.ALARMS, cost.DETAILED_ALARMS)
    minutes = {
        body['Properties']['Targets'][0]['Arn']['Fn::GetAtt'][0]: int(
            body['Properties']['ScheduleExpression'].removeprefix('rate(').split()[0]
        )
        for body in resources
        if body['Type'] == 'AWS::Events::Rule' and 'ScheduleExpression' in body['Properties']
    }
    named = {'Reconcile': 'reconcile', 'BackupSchedules': 'backup_schedules', 'ReportPools': 'report_pools'}
    assert {named[name]: each for name, each in minutes.items()} == {
        name: cost.SCHEDULED[name][0] for name in named.values()
    }


def test_the_most_expensive_choices_are_off_by_default() -> None:
    defaults = json.loads((render.templates() / 'template.json').read_text())['Parameters']
    chosen = {name: defaults[name]['Default'] for name in ('Dashboard', 'DetailedAlarms', 'SecretStore', 'Tracing')}
    assert chosen == {
        'Dashboard': 'false',
        'DetailedAlarms': 'false',
        'SecretStore': 'ParameterStore',
        'Tracing': 'PassThrough',
    }


def test_what_item_nine_found_missing_is_on_the_page() -> None:
    page = cost.page()
    for row in ('PutSnapshotBlock', 'NAT gateway', 'interface endpoint', 'another zone', 'KMS', 'state transitions',
                'Idempotency-Key', 'Secrets Manager'):  # fmt: skip
        assert row in page, row
