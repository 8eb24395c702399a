"""Tokens revoked before they expired, seen by every process."""

from __future__ import annotations

import time

import pytest
from botocore import exceptions

from chalicelib import errors
from chalicelib.models import Revocation, base, revocation
from chalicelib.models.revocation import Revocations
from tests.unreliable import Unreliable, bare


@pytest.fixture
def hour() -> float:
    """The end of a token, seconds since the epoch."""
    return time.time() + 3600


def test_what_was_revoked_is_known_to_every_process(tables: None, hour: float) -> None:
    Revocations().add('audit-1', hour)
    assert Revocations().contains('audit-1')
    assert not Revocations().contains('audit-2')


def test_a_process_that_revokes_knows_at_once(tables: None, hour: float) -> None:
    here = Revocations()
    assert not here.contains('audit-1')
    here.add('audit-1', hour)
    assert here.contains('audit-1')


def test_another_process_believes_a_no_for_some_seconds(
    tables: None, hour: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, clock = Revocations(), [100.0]
    monkeypatch.setattr(revocation.time, 'monotonic', lambda: clock[0])
    assert not here.contains('audit-1')
    Revocations().add('audit-1', hour)
    clock[0] += revocation.TRUST - 0.1
    assert not here.contains('audit-1')
    clock[0] += 0.2
    assert here.contains('audit-1')


def test_a_no_is_asked_for_once_meanwhile(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Revocations()
    here.contains('audit-1')
    monkeypatch.setattr(Revocation, 'query', lambda *_, **__: pytest.fail('it was read again'))
    assert not here.contains('audit-1')


def test_a_token_that_ran_out_is_not_kept(tables: None) -> None:
    """DynamoDB removes it within days; until then its record has no effect any more."""
    Revocations().add('audit-1', time.time() - 10)
    assert not Revocations().contains('audit-1')


def test_the_record_goes_when_the_token_would_have(tables: None, hour: float) -> None:
    Revocations().add('audit-1', hour)
    assert Revocation.find(base.GLOBAL, 'audit-1').expires == int(hour) + 1
    assert Revocation.Meta.ttl_attribute == 'expires'


def test_memory_is_bounded(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, 'REMEMBERED', 3)
    here = Revocations()
    for number in range(10):
        here.contains(f'audit-{number}')
        assert len(here._valid_until) <= 3


def test_an_outage_refuses_rather_than_believes(unreliable: Unreliable, hour: float) -> None:
    unreliable.refusals = [bare(exceptions.ReadTimeoutError) for _ in range(3)]  # a read, a write, and a look at it
    with pytest.raises(errors.ServiceUnavailable):
        Revocations().contains('audit-1')
    with pytest.raises(errors.ServiceUnavailable):
        Revocations().add('audit-1', hour)
