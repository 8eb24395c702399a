"""Snapshots of several EBS volumes at the same time: of which they can be, and what a crash or a refusal leaves."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from chalicelib import errors
from chalicelib.drivers.base import SnapshotRef, VolumeRef
from local.ebs.cloud import Cut, Refused
from tests.contract.test_ebs_crashes import Killed, crashing
from tests.ebs import EbsBackend, Region, backend, region, served

__all__ = ['backend', 'crashing', 'region', 'served']


def made(backend: EbsBackend, region: Region, instance: str = '') -> VolumeRef:
    """A volume on record, attached to an instance if one is named."""
    volume = backend.volume_ref()
    volume = dataclasses.replace(volume, **backend.driver.create_volume(volume))
    if instance:
        backend.driver.initialize_connection(volume, {'instance_id': instance}, 'host')
    return volume


def refs(backend: EbsBackend, *volumes: VolumeRef) -> list[SnapshotRef]:
    return [backend.snapshot_ref(volume) for volume in volumes]


def names(region: Region) -> list[str]:
    region.clock.sleep(60)
    return sorted(one.tags.now['cinder:name'] for one in region.ebs.cloud.snapshots.values())


def test_only_what_is_wanted_of_an_instance(backend: EbsBackend, region: Region) -> None:
    """Another volume of it is left out, and one that is attached to nothing is frozen beside."""
    ours, also, other = (made(backend, region, region.instance) for _ in range(3))
    idle = made(backend, region)
    region.ebs.calls.clear()
    taken = refs(backend, ours, also, idle)
    updates = backend.driver.create_group_snapshot(taken)
    assert (region.ebs.calls.count('CreateSnapshots'), region.ebs.calls.count('CreateSnapshot')) == (1, 1)
    volumes = [region.ebs.cloud.snapshots[update['provider_id']].volume_id for update in updates]
    assert volumes == [one.provider_id for one in (ours, also, idle)]
    assert other.provider_id not in {one.volume_id for one in region.ebs.cloud.snapshots.values()}
    assert names(region) == sorted(one.name for one in taken)


def test_volumes_of_two_instances_are_refused(backend: EbsBackend, region: Region) -> None:
    volumes = [made(backend, region, instance) for instance in (region.instance, region.other_instance)]
    with pytest.raises(errors.NotSupported, match='2 instances'):
        backend.driver.create_group_snapshot(refs(backend, *volumes))
    assert names(region) == []


def test_more_than_ec2_takes_at_once(backend: EbsBackend) -> None:
    volume = backend.volume_ref()
    with pytest.raises(errors.NotSupported, match='41 volumes are too many'):
        backend.driver.create_group_snapshot(refs(backend, *[volume] * 41))


def test_one_that_is_attached_meanwhile(backend: EbsBackend, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = made(backend, region)
    taken = refs(backend, volume)
    make = backend.driver._objects.make_snapshot  # type: ignore[attr-defined]

    def made_late(*given: object) -> object:
        row = make(*given)
        backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'host')
        return row

    monkeypatch.setattr(backend.driver._objects, 'make_snapshot', made_late)  # type: ignore[attr-defined]
    with pytest.raises(errors.BackendUnavailable, match='was attached while'):
        backend.driver.create_group_snapshot(taken)
    assert names(region) == []


@pytest.mark.parametrize('operation', ['CreateSnapshots', 'CreateTags', 'DescribeSnapshots'])
def test_lost_answers_and_throttling(backend: EbsBackend, region: Region, operation: str) -> None:
    taken = refs(backend, *[made(backend, region, region.instance) for _ in range(2)])
    region.ebs.lose_answer(operation, 1)
    region.ebs.throttle(operation, 3)
    backend.driver.create_group_snapshot(taken)
    assert names(region) == sorted(one.name for one in taken)


@pytest.mark.parametrize(
    ('operation', 'error', 'raised'),
    [
        ('CreateSnapshots', Refused('ConcurrentSnapshotLimitExceeded', 'no'), errors.BackendUnavailable),
        ('CreateSnapshots', Refused('UnauthorizedOperation', 'no', 403), errors.BackendMisconfigured),
        ('CreateSnapshots', Cut(), errors.BackendUnavailable),
        ('CreateSnapshot', Refused('SnapshotLimitExceeded', 'no'), errors.BackendFull),
    ],
)
def test_a_refusal_leaves_none(
    backend: EbsBackend, region: Region, operation: str, error: Exception, raised: type[Exception]
) -> None:
    taken = refs(backend, made(backend, region, region.instance), made(backend, region))
    region.ebs.fail(operation, *[error] * 10)
    with pytest.raises(raised):
        backend.driver.create_group_snapshot(taken)
    assert names(region) == []


def test_a_crash_at_every_call(backend: EbsBackend, region: Region, crashing: list[int]) -> None:
    """It is repeated, or given up: all are there once, or none is."""
    crash, halves = -1, 0
    while crash < halves:
        for given_up in (False, True):
            region.fresh()
            taken = refs(backend, *[made(backend, region, region.instance) for _ in range(2)], made(backend, region))
            crashing[:] = [0, crash]
            with contextlib.suppress(Killed):
                backend.driver.create_group_snapshot(taken)
            halves = halves or 2 * crashing[0]
            crashing[1] = -1
            if given_up:
                region.clock.sleep(30)
                for one in taken:
                    backend.driver.delete_snapshot(one)
            else:
                backend.driver.create_group_snapshot(taken)
            assert names(region) == ([] if given_up else sorted(one.name for one in taken)), (crash, given_up)
            backend.clean()
        crash += 1
    assert halves > 10
