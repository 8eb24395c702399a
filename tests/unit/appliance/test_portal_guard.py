"""Which connections to the portal must go, and packets that a listener does not see."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance import packet_filter, portal_guard
from appliance.portal_guard import Peer, judge

NONE = Counter[str]()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_guard, 'MOST_OF_ONE', 3)
    monkeypatch.setattr(portal_guard, 'MOST_OF_STRANGERS', 6)


def peers(addresses: str, since: float = 100.0) -> list[Peer]:
    return [Peer(number, number, address, since) for number, address in enumerate(addresses)]


def test_a_session_is_never_too_old_or_too_many() -> None:
    sessions = Counter({'a': 50})
    assert judge(peers('a' * 50), sessions, sessions, 1000.0) == (NONE, NONE)


def test_a_connection_that_does_not_log_in_is_late() -> None:
    there = peers('aab')
    assert judge(there, Counter('a'), Counter('a'), 100.0 + portal_guard.DEADLINE) == (NONE, NONE)
    assert judge(there, Counter('a'), Counter('a'), 101.0 + portal_guard.DEADLINE) == (Counter('ab'), NONE)


def test_an_address_has_some_beyond_its_sessions() -> None:
    assert judge(peers('aaaaab'), NONE, NONE, 100.0) == (NONE, Counter('aa'))
    assert judge(peers('aaaaab'), Counter('aa'), Counter('aa'), 100.0) == (NONE, NONE)


def test_a_host_whose_sessions_were_lost_may_come_back_with_all_of_them() -> None:
    assert judge(peers('a' * 10), NONE, Counter({'a': 7}), 100.0) == (NONE, NONE)
    assert judge(peers('a' * 11), NONE, Counter({'a': 7}), 100.0) == (NONE, Counter('a'))


def test_strangers_share_a_bound_and_the_largest_gives_way() -> None:
    assert judge(peers('aaabbbcd'), NONE, NONE, 100.0) == (NONE, Counter('ab'))
    assert judge(peers('aaabbbcd'), NONE, Counter('a'), 100.0) == (NONE, NONE)


@contextmanager
def listening(family: socket.AddressFamily, address: str) -> Iterator[socket.socket]:
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        yield listener


def reaches(listener: socket.socket, source: str) -> bool:
    with socket.socket(listener.family) as client:
        client.settimeout(0.2)
        client.bind((source, 0))
        try:
            client.connect(listener.getsockname())
        except TimeoutError:
            return False
        return True


def test_packets_from_some_addresses_do_not_arrive() -> None:
    sources = [f'127.0.0.{number}' for number in range(2, 6)]
    with listening(socket.AF_INET, '127.0.0.1') as listener:
        for blocked in itertools.chain.from_iterable(itertools.combinations(sources, number) for number in (1, 3)):
            packet_filter.drop_from(listener, [*blocked, '::1'])
            assert [reaches(listener, source) for source in sources] == [one not in blocked for one in sources]
        packet_filter.drop_from(listener, [])
        assert all(reaches(listener, source) for source in sources)


def test_packets_from_ipv6_addresses_do_not_arrive() -> None:
    with listening(socket.AF_INET6, '::1') as listener:
        packet_filter.drop_from(listener, ['2001:db8::1', '127.0.0.1'])
        assert reaches(listener, '::1')
        packet_filter.drop_from(listener, ['2001:db8::1', '::1'])
        assert not reaches(listener, '::1')
        packet_filter.drop_from(listener, [])
        assert reaches(listener, '::1')


@pytest.mark.parametrize('form', ['10.0.{}.{}', '2001:db8::{:x}:{:x}'])
def test_the_kernel_takes_the_longest_program(form: str) -> None:
    family = socket.AF_INET6 if ':' in form else socket.AF_INET
    addresses = [form.format(number // 200, number % 200) for number in range(packet_filter.MOST_ADDRESSES)]
    with listening(family, '::1' if ':' in form else '127.0.0.1') as listener:
        packet_filter.drop_from(listener, addresses)
        assert reaches(listener, listener.getsockname()[0])
