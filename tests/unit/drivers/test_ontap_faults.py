"""ONTAP down, slow, unintelligible, replaced, full, late: each ends in a retry, or in an error with the reason."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import HTTPError

from appliance import certificate
from chalicelib.drivers import ontap_client
from chalicelib.drivers.ontap import OntapDriver
from chalicelib.errors import BackendFull, BackendMisconfigured, BackendUnavailable, CinderlessError
from tests.ontap.driver_fixture import SECRET, driver
from tests.ontap.server import USERS, Double, Fault
from tests.unit.drivers.ontap import HOST, double, identity, remembered, snapshot, volume

__all__ = ['double', 'identity']

CONNECTOR = {'initiator': HOST}
PASSING = [Fault.GARBAGE, Fault.BUSY, Fault.DROP, Fault.LOSE]


def exercise(ours: OntapDriver) -> list[Any]:
    """Every verb once; what the caller got."""
    made, other = volume(1, qos_specs={'maxIOPS': '5'}), volume(2)
    frozen = snapshot(made)
    told: list[Any] = [ours.create_volume(made).keys(), ours.create_snapshot(frozen).keys()]
    told.append(ours.create_volume_from_snapshot(other, frozen).keys())
    ours.extend_volume(made, 2)
    told.append(ours.initialize_connection(made, CONNECTOR, 'e')['data'].keys())
    ours.open_volume(other, 'w', 'rw')
    told.append(len(ours.list_objects()))
    told.append([pool['provisioned_capacity_gb'] for pool in ours.get_volume_stats()['pools']])
    ours.close_volume(other, 'w')
    ours.terminate_connection(made, 'e')
    ours.delete_snapshot(frozen)
    ours.delete_volume(other)
    ours.delete_volume(made)
    return told


@pytest.mark.parametrize('fault', PASSING)
def test_what_passes_is_not_noticed_at_any_request(double: Double, fault: Fault) -> None:
    expected = exercise(driver(double))
    requests = len(double.calls)
    for at in range(requests):
        double.calls.clear()
        skip = double.fault
        count = iter(range(10_000))

        def once(method: str, path: str, at: int = at, count: Any = count) -> Fault | None:
            return fault if next(count) == at else None

        double.fault = once  # type: ignore[method-assign]
        try:
            assert exercise(driver(double)) == expected, f'request {at}'
        finally:
            double.fault = skip  # type: ignore[method-assign]
        left = remembered(double.cluster)
        assert (left['luns'], left['maps'], left['policies']) == ({}, [], [])


@pytest.mark.parametrize('fault', PASSING)
def test_what_does_not_pass_ends_in_unavailable(double: Double, fault: Fault) -> None:
    double.fail('*', '*', *[fault] * 10)
    with pytest.raises(BackendUnavailable, match=r'127\.0\.0\.1'):
        driver(double).create_volume(volume())
    assert len(double.calls) == 1 + len(ontap_client.PAUSES)


def test_an_answer_after_the_timeout_is_asked_for_again(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ontap_client, 'ATTEMPT', 0.2)
    double.slow = 0.5
    double.fail('POST', '/storage/luns', Fault.SLOW)
    made = volume()
    update = driver(double).create_volume(made)
    assert [lun['uuid'] for lun in double.cluster.luns] == [update['provider_id']]


def test_slow_answers_end_within_the_verb_s_budget(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    waits: list[float] = []
    ours = driver(double)
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])

    def request(method: str, target: str, **more: Any) -> Any:
        waits.append(more['timeout'].read_timeout)
        clock[0] += waits[-1]
        raise HTTPError('slow')

    class Wire:
        host, port = '192.0.2.1', 443

    Wire.request = staticmethod(request)  # type: ignore[attr-defined]
    monkeypatch.setattr(ours._client, '_pool', Wire)
    with pytest.raises(BackendUnavailable):
        ours.create_volume(volume())
    assert waits == [ontap_client.ATTEMPT, ontap_client.BUDGET - ontap_client.ATTEMPT]
    assert clock[0] - 100 <= ontap_client.BUDGET < 27


def test_nobody_there(identity: Path, double: Double) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(BackendUnavailable, match=f'127.0.0.1:{port}'):
        driver(double, url=f'https://127.0.0.1:{port}').check_for_setup_error()


def test_another_certificate_is_final(double: Double, tmp_path: Path) -> None:
    other = certificate.fingerprint(certificate.ensure(tmp_path)[0])
    with pytest.raises(BackendMisconfigured, match='pinned certificate'):
        driver(double, fingerprint=other).create_volume(volume())
    assert double.calls == []
    driver(double, fingerprint='', certificate=double.certificate.read_text()).create_volume(volume())


@pytest.mark.parametrize(
    'option', [{'fingerprint': 'ab'}, {'fingerprint': '', 'certificate': 'x'}, {'url': 'http://x'}]
)
def test_options_that_cannot_be_are_named(double: Double, option: dict[str, str]) -> None:
    with pytest.raises(BackendMisconfigured, match=next(reversed(option))):
        driver(double, **option)


def test_a_wrong_password_is_final_and_not_told(double: Double) -> None:
    with pytest.raises(BackendMisconfigured, match='username and password') as refused:
        driver(double, password='a wrong one').create_volume(volume())
    assert len(double.calls) == 1
    assert 'a wrong one' not in refused.value.message


def test_full_is_full_for_every_verb_that_takes_space(double: Double) -> None:
    ours, made = driver(double), volume(60)
    ours.create_volume(made)
    frozen = snapshot(made)
    ours.create_snapshot(frozen)
    for verb in (
        lambda: ours.create_volume(volume(60)),
        lambda: ours.create_volume_from_snapshot(volume(60), frozen),
        lambda: ours.create_cloned_volume(volume(60), made),
        lambda: ours.extend_volume(made, 101),
    ):
        with pytest.raises(BackendFull, match='No space left'):
            verb()
    assert len(double.cluster.luns) == 2


def test_a_job_that_goes_on_for_too_long_is_met_again(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    double.jobs_for_luns, double.job_polls = True, 1000
    ours, made = driver(double), volume()
    monkeypatch.setattr(type(ours._client), 'left', lambda self: 1.0)
    with pytest.raises(BackendUnavailable, match='takes too long'):
        ours.create_volume(made)
    monkeypatch.undo()
    double.job_polls = 0
    driver(double).create_volume(made)
    assert len(double.cluster.luns) == 1


def test_a_job_whose_record_is_gone_is_judged_by_what_it_made(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    double.jobs_for_luns = True
    monkeypatch.setattr(double, 'jobs', {})
    monkeypatch.setattr(double, '_job', lambda uuid: (_ for _ in ()).throw(_gone()))
    assert driver(double).create_volume(volume())['provider_id'] == double.cluster.luns[0]['uuid']


def _gone() -> Exception:
    from tests.ontap.errors import OntapError

    return OntapError('4')


def test_no_message_holds_a_secret(double: Double) -> None:
    for fault in PASSING:
        double.fail('*', '*', *[fault] * 3)
        with pytest.raises(CinderlessError) as error:
            driver(double).create_volume(volume())
        for secret in (SECRET, USERS['vsadmin'][0]):
            assert secret not in error.value.message
