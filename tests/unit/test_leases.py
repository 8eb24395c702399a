"""Leases: one holder at a time, and a holder that was too slow notices."""

from __future__ import annotations

import threading

import pytest
from botocore import exceptions

from chalicelib import errors
from chalicelib.models import Lease, base
from tests.unreliable import Unreliable, bare, every_write, no_call


def held(lease_id: str, seconds: float = 60) -> Lease:
    return Lease.acquire(lease_id, seconds)


def test_the_first_grant_is_recorded_and_confirmed(tables: None) -> None:
    lease = held('collect:a')
    lease.confirm()
    stored = Lease.find(base.GLOBAL, 'collect:a')
    assert stored.token == lease.token == 1
    assert stored.expires_at > base.after(50)


def test_nobody_else_gets_it_meanwhile(tables: None) -> None:
    lease = held('collect:a')
    with pytest.raises(errors.LeaseLost, match='collect:a'):
        held('collect:a')
    lease.confirm()
    held('collect:b').confirm()


def test_an_owner_acquires_its_own_lease_again_and_no_other(tables: None) -> None:
    """A worker that was killed does not block its successor."""
    killed = Lease.acquire('collect:a', 60, holder='copy 1')
    for holder in ('copy 2', ''):
        with pytest.raises(errors.LeaseLost):
            Lease.acquire('collect:a', 60, holder=holder)
    successor = Lease.acquire('collect:a', 60, holder='copy 1')
    assert successor.token == killed.token + 1
    successor.release()
    free = held('collect:a')
    with pytest.raises(errors.LeaseLost):
        Lease.acquire('collect:a', 60, holder='copy 1')
    assert free.reload().holder is None


def test_one_that_ran_out_goes_to_the_next_and_its_holder_notices(tables: None) -> None:
    slow = held('collect:a', seconds=-1)
    slow.confirm()  # no other process has it yet
    quick = held('collect:a')
    assert quick.token == slow.token + 1
    quick.confirm()
    with pytest.raises(errors.LeaseLost):
        slow.confirm()


def test_given_back_it_is_free_at_once(tables: None) -> None:
    first = held('collect:a')
    first.release()
    assert held('collect:a').token == first.token + 1


def test_giving_back_what_was_lost_takes_nothing_from_the_new_holder(tables: None) -> None:
    slow = held('collect:a', seconds=-1)
    quick = held('collect:a')
    slow.release()
    quick.confirm()
    with pytest.raises(errors.LeaseLost):
        held('collect:a')


def test_a_lease_whose_record_is_gone_is_no_longer_ours(tables: None) -> None:
    lease = held('collect:a')
    Lease(base.GLOBAL, 'collect:a').delete()
    with pytest.raises(errors.LeaseLost):
        lease.confirm()
    lease.release()


def test_of_many_at_once_one_gets_it(tables: None) -> None:
    winners: list[Lease] = []

    def ask() -> None:
        try:
            winners.append(held('collect:a'))
        except errors.LeaseLost:
            return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lease.token for lease in winners] == [1]


def test_an_outage_is_not_taken_for_a_loss(unreliable: Unreliable) -> None:
    unreliable.refusals = [bare(exceptions.ConnectionClosedError), bare(exceptions.ConnectionClosedError)]
    with pytest.raises(errors.ServiceUnavailable):
        held('collect:a')


def test_a_grant_whose_answer_is_lost_is_a_grant(unreliable: Unreliable) -> None:
    unreliable.resent = every_write
    first = held('collect:a', seconds=-1)
    second = held('collect:a')
    assert (first.token, second.token) == (1, 2)
    second.confirm()
    second.release()
    assert held('collect:a').token == 3


def test_a_grant_that_another_holder_took_meanwhile_is_lost(unreliable: Unreliable) -> None:
    def taken_over() -> None:
        unreliable.resent = no_call
        held('collect:a').confirm()

    unreliable.resent, unreliable.meanwhile = every_write, taken_over
    with pytest.raises(errors.LeaseLost):
        held('collect:a', seconds=-1)
