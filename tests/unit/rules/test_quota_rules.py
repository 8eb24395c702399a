"""Which refusal a resource gives, in which order, and what a volume type counts."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.rules import quotas


@pytest.mark.parametrize(
    ('over', 'kind'),
    [
        ('gigabytes', errors.VolumeSizeExceedsAvailableQuota),
        ('gigabytes_T', errors.VolumeSizeExceedsAvailableQuota),
        ('backup_gigabytes', errors.VolumeBackupSizeExceedsAvailableQuota),
        ('volumes', errors.VolumeLimitExceeded),
        ('volumes_T', errors.VolumeLimitExceeded),
        ('snapshots_T', errors.SnapshotLimitExceeded),
        ('backups', errors.BackupLimitExceeded),
        ('groups', errors.GroupLimitExceeded),
    ],
)
def test_refusals(over: str, kind: type[errors.OverQuota]) -> None:
    refused = quotas.refusal(over, shown='shown', requested=3, limit=5, used=4)
    assert type(refused) is kind
    facts = {'name': 'shown', 'allowed': 5, 'requested': 3, 'quota': 5, 'consumed': 4}
    assert refused.message == kind(**facts).message
    assert {name: refused.facts[name] for name in facts} == facts


def test_gigabytes_are_named_before_numbers() -> None:
    over = ['volumes', 'snapshots', 'gigabytes_T', 'groups', 'gigabytes', 'backup_gigabytes', 'backups', 'volumes_T']
    expected = [
        'backup_gigabytes',
        'gigabytes',
        'gigabytes_T',
        'volumes',
        'volumes_T',
        'snapshots',
        'backups',
        'groups',
    ]
    assert quotas.search_order(over) == expected


def test_what_a_type_counts() -> None:
    deltas = {'volumes': 1, 'gigabytes': -2, 'snapshots': 0, 'backups': 3}
    counted = {'volumes': 1, 'gigabytes': -2, 'backups': 3}
    assert quotas.with_type(deltas, None) == counted
    assert quotas.with_type(deltas, 'T') == {**counted, 'volumes_T': 1, 'gigabytes_T': -2}
    assert quotas.with_type({'snapshots': 1}, 'T') == {'snapshots': 1, 'snapshots_T': 1}


@pytest.mark.parametrize(('limit', 'most'), [(-1, 2**31 - 1), (0, 0), (7, 7), (2**40, 2**31 - 1)])
def test_ceilings(limit: int, most: int) -> None:
    assert quotas.ceiling(limit) == most
