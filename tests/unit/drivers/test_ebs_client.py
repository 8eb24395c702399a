"""The EBS client's repetitions over HTTP, and every error of the SDK at the driver's edge."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from chalicelib import errors
from chalicelib.drivers import ebs_client
from chalicelib.drivers.base import SnapshotRef, StoredExport, VolumeRef
from chalicelib.drivers.ebs import EbsDriver
from tests import flaky
from tests.ebs import ZONES, EbsBackend, Region, backend, driver, region, served
from tests.flaky import DONE, NOT_DONE, Flaky
from tests.unreliable import errors_of_botocore

__all__ = ['backend', 'region', 'served']

HOST = f'c@aws#{ZONES[0]}'

#: EC2 has its own words for some faults.
THROTTLED = (503, 'RequestLimitExceeded')


@pytest.fixture
def network(request: pytest.FixtureRequest, region: Region, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    """The region behind a network with faults."""
    monkeypatch.setattr(ebs_client, 'READ', dict.fromkeys(('ec2', 'ebs'), flaky.patience(request)))
    for service in ('EC2', 'EBS'):
        monkeypatch.delenv(f'AWS_ENDPOINT_URL_{service}')
    with (
        flaky.serving(lambda request: region.ebs(request)) as network,
        flaky.reached_over_http(network, monkeypatch),
    ):
        yield network


def verbs(made: EbsBackend, volume: VolumeRef, snapshot: SnapshotRef, instance: str) -> dict[str, Callable[[], Any]]:
    """Every verb of the driver that calls AWS, and how."""
    one: EbsDriver = made.driver  # type: ignore[assignment]
    connector = {'instance_id': instance}
    new = made.volume_ref()
    known = dataclasses.replace(made.volume_ref(), provider_id=None)
    source = {'source-id': str(volume.provider_id)}
    return {
        'check_for_setup_error': one.check_for_setup_error,
        'get_volume_stats': one.get_volume_stats,
        'create_volume': lambda: one.create_volume(new),
        'create_volume_from_snapshot': lambda: one.create_volume_from_snapshot(new, snapshot),
        'create_cloned_volume': lambda: one.create_cloned_volume(new, volume),
        'delete_volume': lambda: one.delete_volume(volume),
        'extend_volume': lambda: one.extend_volume(volume, 2),
        'create_snapshot': lambda: one.create_snapshot(made.snapshot_ref(volume)),
        'create_group_snapshot': lambda: one.create_group_snapshot([made.snapshot_ref(volume)]),
        'delete_snapshot': lambda: one.delete_snapshot(snapshot),
        'initialize_connection': lambda: one.initialize_connection(volume, connector, 'export'),
        'terminate_connection': lambda: one.terminate_connection(volume, None),
        'close_volume': lambda: one.close_volume(volume, 'export'),
        'open_snapshot': lambda: one.open_snapshot(snapshot, 'export').read(0, 512),
        'close_snapshot': lambda: one.close_snapshot(snapshot, 'export'),
        'changes_since': lambda: list((one.changes_since(snapshot, snapshot) or (lambda *_: ()))(0, 1 << 20)),
        'retire_snapshot': lambda: one.retire_snapshot(snapshot),
        'open_restore': lambda: one.open_restore(volume, 'export'),
        'complete_restore': lambda: one.complete_restore(volume, 'export', lambda: [(0, 512)]),
        'cancel_restore': lambda: one.cancel_restore(volume, 'export'),
        'changes_of_restore': lambda: one.changes_of_restore(volume, 'export', snapshot),
        'revert_to_snapshot': lambda: one.revert_to_snapshot(volume, snapshot),
        'retype': lambda: one.retype(volume, dataclasses.replace(volume, extra_specs={'ebs:iops': '4000'})),
        'manage_existing_get_size': lambda: one.manage_existing_get_size(known, source),
        'manage_existing': lambda: one.manage_existing(known, source),
        'get_manageable_volumes': lambda: one.get_manageable_volumes(HOST),
        'unmanage': lambda: one.unmanage(volume),
        'manage_existing_snapshot_get_size': lambda: one.manage_existing_snapshot_get_size(snapshot, source),
        'manage_existing_snapshot': lambda: one.manage_existing_snapshot(snapshot, source),
        'get_manageable_snapshots': lambda: one.get_manageable_snapshots(HOST),
        'unmanage_snapshot': lambda: one.unmanage_snapshot(snapshot),
        'list_objects': one.list_objects,
        'inventory': one.inventory,
        'list_exports': one.list_exports,
        'list_idle_access': one.list_idle_access,
        'remove_idle_access': lambda: one.remove_idle_access('-'),
        'end_unnamed_export': lambda: one.end_unnamed_export(StoredExport('volume-v', 'z', None, 'i-1')),
        'get_volume_size': lambda: one.get_volume_size(volume),
    }


def stage(backend: EbsBackend, region: Region) -> dict[str, Callable[[], Any]]:
    """A volume with a snapshot, and the verbs on them."""
    volume = backend.volume_ref()
    volume = dataclasses.replace(volume, **backend.driver.create_volume(volume))
    snapshot = backend.snapshot_ref(volume)
    snapshot = dataclasses.replace(snapshot, **backend.driver.create_snapshot(snapshot))
    return verbs(backend, volume, snapshot, region.instance)


def test_every_verb_is_among_those_tested(backend: EbsBackend, region: Region) -> None:
    public = {name for name, verb in vars(EbsDriver).items() if callable(verb) and not name.startswith('_')}
    assert public <= set(stage(backend, region)) | {'open_volume'}


def test_a_refusal_at_any_call_of_any_verb_is_the_contract_s_error(
    backend: EbsBackend, region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example a missing right. ``Refused`` and ``Unsure`` are the client's own words."""
    send, points = ebs_client.Api._call, 0
    for failure in (ebs_client.Refused('UnauthorizedOperation', 'no'), ebs_client.Unsure('no answer')):
        for name, before in itertools.product(stage(backend, region), range(4)):
            verb, left = stage(backend, region)[name], [before]

            def call(api: Any, service: str, operation: str, parameters: Any, left: Any = left) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise failure  # noqa: B023 - called within the loop
                return send(api, service, operation, parameters)

            with monkeypatch.context() as patch:
                patch.setattr(ebs_client.Api, '_call', call)
                try:
                    verb()
                except errors.CinderlessError:
                    points += 1
    assert points > 100


def test_every_error_of_the_sdk_is_told_apart(backend: EbsBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in errors_of_botocore():

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, '_make_api_call', fail)
            with pytest.raises(errors.CinderlessError):
                backend.driver.list_objects()
            with pytest.raises(errors.CinderlessError):
                backend.driver.create_volume(backend.volume_ref())


@pytest.mark.parametrize('fault', [*DONE, *NOT_DONE])
def test_a_fault_at_any_request_leaves_one_volume(fault: str, network: Flaky, region: Region) -> None:
    for before in itertools.count():
        made = EbsBackend(driver(), HOST, HOST, too_large=70_000)
        network.faults = ['none'] * before + [fault]
        volume = made.volume_ref()
        volume = dataclasses.replace(volume, **made.driver.create_volume(volume))
        if network.faults:
            break
        network.faults = []
        assert made.driver.list_objects().count(volume.name) == 1
        made.driver.delete_volume(volume)
        assert made.driver.list_objects().count(volume.name) == 0
    assert before > 0


def test_what_does_not_end_is_the_backend_away(network: Flaky, backend: EbsBackend) -> None:
    network.upstream = lambda request: flaky.refusal(request, *THROTTLED)
    with pytest.raises(errors.BackendUnavailable, match='RequestLimitExceeded'):
        backend.driver.list_objects()
    assert len(network.seen) == ebs_client.ATTEMPTS


def test_a_call_that_was_never_sent_is_repeated_though_it_may_not_be_done_twice(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flaky.serving(lambda request: region.ebs(request)) as closed:
        pass
    for service in ('EC2', 'EBS'):
        monkeypatch.delenv(f'AWS_ENDPOINT_URL_{service}')
    with flaky.reached_over_http(closed, monkeypatch), pytest.raises(errors.BackendUnavailable, match='EndpointConn'):
        ebs_client.Api('aws', 'us-east-1').ec2('ModifyVolume', repeatable=False, VolumeId='vol-1', Size=2)


def test_an_answer_that_is_lost_is_not_repeated_where_it_may_not(network: Flaky) -> None:
    network.faults = ['closed']
    with pytest.raises(ebs_client.Unsure):
        ebs_client.Api('aws', 'us-east-1').ec2('ModifyVolume', repeatable=False, VolumeId='vol-1', Size=2)
    assert network.seen == ['closed']
