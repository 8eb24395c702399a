"""Quotas: who is refused, with which words, and that the counters are right whatever happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib import errors
from chalicelib.models import Quota, base
from chalicelib.operations import quotas, volume_types
from chalicelib.rules import quotas as rules
from tests.factories import context

NOTHING = lambda transaction: None  # noqa: E731


def take(**deltas: int) -> None:
    quotas.commit('project', deltas, NOTHING)


def in_use(resource: str, project: str = 'project') -> int:
    return quotas.usages(project)[resource]['in_use']


def test_defaults_are_cinders(tables: None) -> None:
    assert quotas.limits('project') == {
        'volumes': 10,
        'per_volume_gigabytes': -1,
        'snapshots': 10,
        'gigabytes': 1000,
        'backups': 10,
        'backup_gigabytes': 1000,
        'groups': 10,
    }


def test_up_to_the_limit_and_no_further(tables: None) -> None:
    take(volumes=10)
    with pytest.raises(errors.VolumeLimitExceeded) as refused:
        take(volumes=1)
    assert refused.value.message == "Maximum number of volumes allowed (10) exceeded for quota 'volumes'."
    assert in_use('volumes') == 10


def test_a_first_request_above_the_limit(tables: None) -> None:
    with pytest.raises(errors.SnapshotLimitExceeded, match=r'Maximum number of snapshots allowed \(10\) exceeded'):
        take(snapshots=11)


@pytest.mark.parametrize(
    ('deltas', 'message'),
    [
        (
            {'volumes': 99, 'gigabytes': 1001},
            'Requested volume or snapshot exceeds allowed gigabytes quota. '
            'Requested 1001G, quota is 1000G and 3G has been consumed.',
        ),
        (
            {'backups': 99, 'backup_gigabytes': 1001},
            'Requested backup exceeds allowed Backup gigabytes quota. '
            'Requested 1001G, quota is 1000G and 0G has been consumed.',
        ),
        ({'backups': 99, 'backup_gigabytes': 1}, 'Maximum number of backups allowed (10) exceeded'),
    ],
)
def test_gigabytes_are_named_before_numbers(tables: None, deltas: dict[str, int], message: str) -> None:
    take(gigabytes=3)
    with pytest.raises(errors.OverQuota) as refused:
        quotas.commit('project', deltas, NOTHING)
    assert refused.value.message == message
    assert refused.value.code == 413


def test_nothing_is_written_when_a_quota_refuses(tables: None) -> None:
    taken: list[base.Transaction] = []
    with pytest.raises(errors.OverQuota):
        quotas.commit('project', {'volumes': 1, 'gigabytes': 2000}, taken.append)
    assert in_use('volumes') == 0


def test_usage_overflow(tables: None) -> None:
    quotas.update('project', {'gigabytes': -1})
    take(gigabytes=5)
    with pytest.raises(errors.QuotaUsageOverflow) as refused:
        take(gigabytes=rules.MAX_USAGE)
    assert refused.value.message == (
        "Quota usage would overflow for resources: ['gigabytes']. "
        'The requested operation would exceed the maximum allowed value (2147483647) for quota tracking.'
    )


def test_giving_back_is_never_refused(tables: None) -> None:
    take(volumes=10)
    quotas.update('project', {'volumes': 10})
    Quota('project', 'quota').update(actions=[Quota.limits.set({'volumes': 2}), Quota.limits_version.add(1)])
    take(volumes=-3)
    assert in_use('volumes') == 7


def test_a_counter_that_drifted_ends_at_zero_and_keeps_nothing_alive(tables: None) -> None:
    take(volumes=1, gigabytes=2)
    take(volumes=-1, gigabytes=-5)
    assert (in_use('volumes'), in_use('gigabytes')) == (0, 0)


def test_a_counter_that_was_never_there_ends_at_zero(tables: None) -> None:
    take(snapshots=-1)
    assert in_use('snapshots') == 0


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have another process change limits once, between the reading of the limits and the write."""
    read = quotas._read

    def late(project_id: str) -> tuple[quotas.View, Quota]:
        found = read(project_id)
        monkeypatch.setattr(quotas, '_read', read)
        change()
        return found

    monkeypatch.setattr(quotas, '_read', late)


def test_limits_lowered_between_reading_and_writing(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    take(volumes=2)
    meanwhile(monkeypatch, lambda: quotas.update('project', {'volumes': 2}))
    with pytest.raises(errors.VolumeLimitExceeded, match=r'allowed \(2\)'):
        take(volumes=1)


def test_limits_raised_between_reading_and_writing(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas.update('project', {'volumes': 0})
    meanwhile(monkeypatch, lambda: quotas.update('project', {'volumes': 5}))
    take(volumes=1)
    assert in_use('volumes') == 1


def test_the_size_of_one_volume_between_reading_and_writing(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    meanwhile(monkeypatch, lambda: quotas.update('project', {'per_volume_gigabytes': 5}))
    with pytest.raises(errors.VolumeSizeExceedsLimit):
        quotas.commit('project', {'volumes': 1, 'gigabytes': 6}, NOTHING, largest=6)


def test_what_gives_back_reads_no_limits(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    take(volumes=2)
    monkeypatch.setattr(quotas, '_read', None)
    quotas.commit('project', {'volumes': -1}, NOTHING)


def test_held_part_is_shown_as_reserved(tables: None) -> None:
    take(gigabytes=5)
    quotas.commit('project', {'gigabytes': 3}, NOTHING, reserved={'gigabytes': 3})
    assert quotas.usages('project')['gigabytes'] == {'limit': 1000, 'in_use': 5, 'reserved': 3}
    quotas.commit('project', {}, NOTHING, reserved={'gigabytes': -3})
    assert quotas.usages('project')['gigabytes'] == {'limit': 1000, 'in_use': 8, 'reserved': 0}


def test_limits_of_a_volume_type(tables: None) -> None:
    admin = context('admin')
    fast = volume_types.create(admin, name='fast', description=None, is_public=True, extra_specs={})
    quotas.update('project', {'volumes_fast': 1})
    quotas.commit('project', {'volumes': 1, 'gigabytes': 2}, NOTHING, type_id=fast.id)
    with pytest.raises(errors.VolumeLimitExceeded, match="for quota 'volumes_fast'"):
        quotas.commit('project', {'volumes': 1}, NOTHING, type_id=fast.id)
    assert (in_use('volumes_fast'), in_use('gigabytes_fast'), in_use('volumes')) == (1, 2, 1)


def test_a_renamed_type_keeps_its_counters_and_limits(tables: None) -> None:
    admin = context('admin')
    fast = volume_types.create(admin, name='fast', description=None, is_public=True, extra_specs={})
    quotas.update('project', {'volumes_fast': 3})
    quotas.commit('project', {'volumes': 2}, NOTHING, type_id=fast.id)
    volume_types.update(admin, fast.id, {'name': 'quick'})
    assert quotas.usages('project')['volumes_quick'] == {'limit': 3, 'in_use': 2, 'reserved': 0}
    assert 'volumes_fast' not in quotas.usages('project')


def test_update_refuses_less_than_is_used(tables: None) -> None:
    take(volumes=4)
    with pytest.raises(errors.Invalid) as refused:
        quotas.update('project', {'volumes': 1})
    assert refused.value.message == (
        'Quota volumes limit must be equal or greater than existing resources. '
        'Current usage is 4 and the requested limit is 1.'
    )
    assert quotas.update('project', {'volumes': -1})['volumes'] == -1


def test_update_refuses_what_it_does_not_know(tables: None) -> None:
    with pytest.raises(errors.InvalidInput) as refused:
        quotas.update('project', {'nope': 1, 'volumes': 5})
    assert refused.value.message == 'Invalid input received: Bad key(s) in quota set: nope'
    assert quotas.limits('project')['volumes'] == 10


def test_delete_brings_the_defaults_back_and_keeps_the_counters(tables: None) -> None:
    quotas.update('project', {'volumes': 50})
    take(volumes=3)
    quotas.delete('project')
    assert quotas.usages('project')['volumes'] == {'limit': 10, 'in_use': 3, 'reserved': 0}


def test_class_default_is_everybodys_default(tables: None) -> None:
    assert quotas.update_class('default', {'volumes': 2})['volumes'] == 2
    assert quotas.class_limits('default')['volumes'] == 2
    with pytest.raises(errors.VolumeLimitExceeded):
        quotas.commit('another-project', {'volumes': 3}, NOTHING)
    quotas.update('another-project', {'volumes': 5})
    quotas.commit('another-project', {'volumes': 3}, NOTHING)


def test_another_class_has_no_effect(tables: None) -> None:
    quotas.update_class('gold', {'volumes': 0})
    take(volumes=1)
    assert quotas.class_limits('gold')['volumes'] == 0


def test_size_of_one_volume(tables: None) -> None:
    quotas.update('project', {'per_volume_gigabytes': 5})
    quotas.check_volume_size('project', 5)
    with pytest.raises(errors.VolumeSizeExceedsLimit) as refused:
        quotas.check_volume_size('project', 6)
    assert refused.value.message == 'Requested volume size 6G is larger than maximum allowed limit 5G.'


def test_two_processes_make_the_record_at_once(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from pynamodb.exceptions import DoesNotExist

    get, calls = Quota.get, []

    def late(*key: str, **facts: object) -> Quota:
        calls.append(key)
        if len(calls) == 1:
            quota = Quota('project', 'quota', created_at=base.now())
            quota.usage['volumes'] = 4
            quota.save()
            raise DoesNotExist
        return get(*key, **facts)

    monkeypatch.setattr(Quota, 'get', late)
    assert quotas._find('project', 'quota').usage['volumes'] == 4


def test_limits_that_never_stand_still(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    take(volumes=1)
    read = quotas._read

    def late(project_id: str) -> tuple[quotas.View, Quota]:
        found = read(project_id)
        Quota('project', 'quota').update(actions=[Quota.limits_version.add(1)])
        return found

    monkeypatch.setattr(quotas, '_read', late)
    with pytest.raises(errors.QuotaChanged, match='try again'):
        quotas.commit('project', {'volumes': 1}, NOTHING)
