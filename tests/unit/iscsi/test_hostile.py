"""Whatever a target sends, an operation ends: with the right data, or with an error that names what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import DeviceError
from chalicelib.iscsi import reconnect
from tests.unit.iscsi.conftest import connect
from tests.unit.iscsi.fake_disk import BLOCK, Disk
from tests.unit.iscsi.fake_target import Double, HangUp, Tamper, reply

PATTERN = bytes(range(256)) * 64  # 16 KiB
SECRET = 'the-right-secret'
CHAP: dict[str, Any] = {'auth_method': 'CHAP', 'auth_username': 'cinder', 'auth_password': SECRET}

numbers = st.integers(0, 40) | st.sampled_from([2**24 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
opcodes = st.sampled_from([0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3F, 0x00, 0x1C])

#: PDUs in good form that were not requested.
strays = st.builds(
    reply,
    opcodes,
    flags=st.integers(0, 255),
    byte2=st.integers(0, 12),
    byte3=st.sampled_from([0, 2, 8, 0x28]),
    tag=numbers,
    transfer_tag=numbers,
    words=st.tuples(*[numbers] * 6),
    data=st.binary(max_size=600),
)

#: (what, argument): see ``Mischief``.
mischief = st.one_of(
    st.tuples(st.just('flip'), st.integers(0, 48 * 8 - 1)),
    st.tuples(st.just('cut'), st.integers(0, 100)),
    st.tuples(st.sampled_from(['drop', 'twice', 'hang_up', 'late']), st.none()),
    st.tuples(st.just('insert'), strays),
    st.tuples(st.just('replace'), strays | st.binary(max_size=200)),
)


class Mischief:
    """Does its deeds to the PDUs with the numbers given, and nothing to the others."""

    def __init__(self, deeds: dict[int, tuple[str, Any]]) -> None:
        self._deeds = deeds
        self._held: list[bytes] = []

    def __call__(self, number: int, pdu: bytes) -> list[bytes]:
        what, argument = self._deeds.get(number, ('pass_', None))
        held, self._held = self._held, []
        return [*getattr(self, what)(pdu, argument), *held]

    def pass_(self, pdu: bytes, _: None) -> list[bytes]:
        return [pdu]

    def flip(self, pdu: bytes, bit: int) -> list[bytes]:
        """One bit of the header: only a digest could find that in the data."""
        position = bit // 8
        return [pdu[:position] + bytes([pdu[position] ^ 1 << bit % 8]) + pdu[position + 1 :]]

    def cut(self, pdu: bytes, length: int) -> list[bytes]:
        return [pdu[:length]]

    def drop(self, pdu: bytes, _: None) -> list[bytes]:
        return []

    def twice(self, pdu: bytes, _: None) -> list[bytes]:
        return [pdu, pdu]

    def late(self, pdu: bytes, _: None) -> list[bytes]:
        """After the next one."""
        self._held.append(pdu)
        return []

    def insert(self, pdu: bytes, other: bytes) -> list[bytes]:
        return [other, pdu]

    def replace(self, pdu: bytes, other: bytes) -> list[bytes]:
        return [other]

    def hang_up(self, pdu: bytes, _: None) -> list[bytes]:
        raise HangUp


@pytest.fixture(autouse=True, scope='module')
def _short_pauses() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconnect, '_PAUSES', (0.0, 0.0, 0.0))
        yield


@settings(max_examples=150, deadline=None)
@given(
    deeds=st.dictionaries(st.integers(0, 34), mischief, min_size=1, max_size=3),
    queue_depth=st.integers(1, 4),
    parameters=st.fixed_dictionaries(
        {'segment': st.sampled_from([4096, 65536]), 'window': st.sampled_from([1, 64]), 'status_apart': st.booleans()}
    ),
    answers=st.sampled_from([{}, {'InitialR2T': 'Yes', 'MaxBurstLength': '4096', 'ImmediateData': 'No'}]),
)
def test_right_data_or_a_clear_error(
    deeds: dict[int, Any], queue_depth: int, parameters: dict[str, Any], answers: dict[str, str]
) -> None:
    """Login, probing, reads, writes and maps, with something wrong at any point of it."""
    disk = Disk(most_transfer=8)
    disk.data[: len(PATTERN)] = PATTERN
    disk.mapped[: len(PATTERN) // BLOCK] = b'\1' * (len(PATTERN) // BLOCK)
    with (
        Double(disk, chap=('cinder', SECRET), answers=answers, tamper=tampering(deeds), **parameters) as target,
        no_other_error(),
        connect(target, timeout=0.15, queue_depth=queue_depth, **CHAP) as device,
    ):
        assert (device.size, device.block_size) == (1024 * BLOCK, BLOCK)
        assert device.read(0, len(PATTERN)) == PATTERN
        device.write(len(PATTERN), PATTERN)
        assert disk.data[: 2 * len(PATTERN)] == PATTERN * 2
        assert list(device.allocated(0, device.size)) == [(0, 2 * len(PATTERN))]
        device.zero(0, 8192)
        assert device.read(0, len(PATTERN)) == bytes(8192) + PATTERN[8192:]
        device.flush()


@settings(max_examples=50, deadline=None)
@given(blob=st.binary(max_size=300), then=st.sampled_from(['hang_up', 'silence', 'more']))
def test_a_service_that_is_no_target(blob: bytes, then: str) -> None:
    def tamper(number: int, pdu: bytes) -> list[bytes]:
        if number and then == 'hang_up':
            raise HangUp
        return [blob] if not number or then == 'more' else []

    with Double(tamper=tamper) as target, pytest.raises(DeviceError):
        connect(target, timeout=0.1)


def tampering(deeds: dict[int, tuple[str, Any]]) -> Tamper:
    return Mischief(deeds)


@contextlib.contextmanager
def no_other_error() -> Any:
    """A DeviceError is a good end, if its message gives nothing away."""
    try:
        yield
    except DeviceError as error:
        assert error.message.startswith('The device iqn.2026-01.test:double LUN 1 ')  # noqa: PT017
        assert SECRET not in error.message  # noqa: PT017


#: Seconds and PDUs that bound an attack.
SECONDS, PDUS = 5.0, 200_000

PING = reply(0x20, transfer_tag=7)
NOTICE = reply(0x20)
EVENT = reply(0x32, data=bytes(4))


def slowly(pdu: bytes) -> Iterator[bytes]:
    """A byte now and then, well within the time that one read may take."""
    until = time.monotonic() + SECONDS
    for position in itertools.count():
        if time.monotonic() > until:
            return
        yield pdu[position : position + 1] or b'\0'
        time.sleep(0.02)


def never(_: bytes) -> Iterator[bytes]:
    time.sleep(SECONDS)
    yield b''
    time.sleep(0.2)
    yield b'\0' * 48


def flooding(other: bytes) -> Callable[[bytes], Iterator[bytes]]:
    """PDUs that are allowed at any time, and never the answer."""
    return lambda _: itertools.chain.from_iterable(itertools.repeat([other * 100], PDUS // 100))


ATTACKS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    'drips': slowly,
    'never answers': never,
    'floods pings': flooding(PING),
    'floods notices': flooding(NOTICE),
    'floods events': flooding(EVENT),
}


@pytest.mark.parametrize('number', [0, 1, 3, 6, 9], ids=lambda number: f'at PDU {number}')
@pytest.mark.parametrize('attack', ATTACKS)
def test_a_deadline_holds_whatever_comes_instead_of_an_answer(attack: str, number: int) -> None:
    """From the login to the last write; the attack is bounded, and must not get to its bound."""
    held: list[int] = []

    def tamper(current: int, pdu: bytes) -> Any:
        if current < number:
            yield pdu
            return
        yield from ATTACKS[attack](pdu)
        held.append(current)

    with Double(tamper=tamper) as target, pytest.raises(DeviceError):
        use(target)
    assert not held


def use(target: Double) -> None:
    with connect(target, timeout=0.4, queue_depth=2) as device:
        device.write(0, PATTERN)
        device.read(0, len(PATTERN))
        device.flush()
