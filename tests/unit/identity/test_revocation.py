"""Revoked tokens in memory."""

from __future__ import annotations

import threading

from chalicelib.identity.revocation import InMemoryRevocations

from .conftest import Clock


def test_a_revoked_id_is_known_until_its_end(clock: Clock) -> None:
    store = InMemoryRevocations(clock)
    store.add('one', clock.now + 10)
    store.add('one', clock.now + 10)

    assert store.contains('one')
    assert not store.contains('two')
    clock.now += 10
    assert not store.contains('one')


def test_ended_revocations_are_forgotten(clock: Clock) -> None:
    store = InMemoryRevocations(clock)
    for number in range(50):
        store.add(f'id-{number}', clock.now + 1)
    clock.now += 2
    store.add('last', clock.now + 1)

    assert set(store._until) == {'last'}


def test_no_revocation_is_lost_between_threads(clock: Clock) -> None:
    store = InMemoryRevocations(clock)

    def revoke(thread: int) -> None:
        for number in range(100):
            store.add(f'{thread}-{number}', clock.now + 10)

    threads = [threading.Thread(target=revoke, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(store.contains(f'{thread}-{number}') for thread in range(8) for number in range(100))
