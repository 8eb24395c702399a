from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import nonces
from appliance.errors import BadSignature, BadTime, Replayed, Unavailable
from appliance.keys import Keys
from appliance.signing import MAX_SKEW, SCHEME, Verifier, signature

KEY = b'k' * 32
NONCE = 'a' * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def verifier(clock: Clock) -> Verifier:
    return Verifier(KEY, clock)


def header(clock: Clock, nonce: str = NONCE, key: bytes = KEY, age: int = 0, **signed: str | bytes) -> str:
    facts = {'method': 'PUT', 'path': '/v1/x', 'body': b'{}'} | signed
    timestamp = int(clock.now) - age
    made = signature(key, str(facts['method']), str(facts['path']), bytes(facts['body']), timestamp, nonce)  # type: ignore[arg-type]
    return f'{SCHEME} timestamp={timestamp}, nonce={nonce}, signature={made}'


def test_a_signed_request_is_served_once(clock: Clock, verifier: Verifier) -> None:
    verifier.check('PUT', '/v1/x', b'{}', header(clock))
    with pytest.raises(Replayed):
        verifier.check('PUT', '/v1/x', b'{}', header(clock))
    verifier.check('PUT', '/v1/x', b'{}', header(clock, nonce='b' * 32))


@pytest.mark.parametrize(
    ('method', 'path', 'body'), [('GET', '/v1/x', b'{}'), ('PUT', '/v1/y', b'{}'), ('PUT', '/v1/x', b'{"a": 1}')]
)
def test_a_signature_holds_for_one_request_only(
    clock: Clock, verifier: Verifier, method: str, path: str, body: bytes
) -> None:
    with pytest.raises(BadSignature):
        verifier.check(method, path, body, header(clock))


def test_another_secret_is_refused(clock: Clock, verifier: Verifier) -> None:
    with pytest.raises(BadSignature, match='secret'):
        verifier.check('PUT', '/v1/x', b'{}', header(clock, key=b'x' * 32))


@pytest.mark.parametrize('change', [('timestamp=1', 'timestamp=2'), ('nonce=aa', 'nonce=ab')])
def test_timestamp_and_nonce_are_signed_too(clock: Clock, verifier: Verifier, change: tuple[str, str]) -> None:
    with pytest.raises(BadSignature):
        verifier.check('PUT', '/v1/x', b'{}', header(clock).replace(*change))


@pytest.mark.parametrize('text', [None, '', 'Basic YTpi', SCHEME, f'{SCHEME} timestamp=1, nonce=, signature='])
def test_what_is_no_signature_is_refused(verifier: Verifier, text: str | None) -> None:
    with pytest.raises(BadSignature, match='not signed'):
        verifier.check('PUT', '/v1/x', b'{}', text)


@given(st.text())
def test_garbage_is_refused_as_such(text: str) -> None:
    with pytest.raises(BadSignature):
        Verifier(KEY).check('PUT', '/v1/x', b'{}', f'{SCHEME} {text}')


@pytest.mark.parametrize('age', [MAX_SKEW + 2, -MAX_SKEW - 2])
def test_clocks_that_differ_too_much_are_refused(clock: Clock, age: int) -> None:
    verifier = Verifier(KEY, clock)
    clock.now += 1000
    with pytest.raises(BadTime, match='clocks'):
        verifier.check('PUT', '/v1/x', b'{}', header(clock, age=age))


def test_what_was_signed_before_the_start_is_refused(clock: Clock) -> None:
    """Its nonce may have been served by the life before this one."""
    before = header(clock)
    clock.now += 5
    with pytest.raises(BadTime, match='started'):
        Verifier(KEY, clock).check('PUT', '/v1/x', b'{}', before)


def test_a_request_cannot_be_replayed_as_long_as_its_time_is_good(clock: Clock, verifier: Verifier) -> None:
    early = header(clock, age=-MAX_SKEW)
    verifier.check('PUT', '/v1/x', b'{}', early)
    for _ in range(2 * MAX_SKEW + 2):
        with pytest.raises((Replayed, BadTime)):
            verifier.check('PUT', '/v1/x', b'{}', early)
        verifier.check('PUT', '/v1/x', b'{}', header(clock, nonce=f'{int(clock.now):032x}'))
        clock.now += 1


def test_nonces_are_forgotten_when_they_are_of_no_use(clock: Clock, verifier: Verifier) -> None:
    for number in range(1000):
        verifier.check('PUT', '/v1/x', b'{}', header(clock, nonce=f'{number:032x}'))
        clock.now += 1
    assert len(verifier._nonces) <= 2 * MAX_SKEW + 1


class TestTheNextLife:
    def test_knows_what_was_served(self, clock: Clock, tmp_path: Path) -> None:
        """By whatever clock it was signed."""
        served = [header(clock, nonce=f'{age + 99:032x}', age=age) for age in (0, -MAX_SKEW // 2)]
        first = Verifier(KEY, clock, tmp_path / 'nonces')
        for one in served:
            first.check('PUT', '/v1/x', b'{}', one)
        for _ in range(3):
            clock.now += 5
            life = Verifier(KEY, clock, tmp_path / 'nonces')
            for one in served:
                with pytest.raises(Replayed):
                    life.check('PUT', '/v1/x', b'{}', one)

    def test_serves_what_was_not(self, clock: Clock, tmp_path: Path) -> None:
        Verifier(KEY, clock, tmp_path / 'nonces')
        waiting = header(clock)
        clock.now += 5
        Verifier(KEY, clock, tmp_path / 'nonces').check('PUT', '/v1/x', b'{}', waiting)

    @pytest.mark.parametrize('damage', ['boot', 'file', 'line'])
    def test_begins_anew_where_it_may_not_know(
        self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        memory, before = tmp_path / 'nonces', header(clock)
        Verifier(KEY, clock, memory).check('PUT', '/v1/x', b'{}', before)
        clock.now += 5
        if damage == 'boot':
            monkeypatch.setattr(nonces, '_boot', lambda: 'another')
        else:
            memory.write_text('' if damage == 'file' else memory.read_text() + '99')
        with pytest.raises(BadTime, match='started'):
            Verifier(KEY, clock, memory).check('PUT', '/v1/x', b'{}', before)

    def test_finds_a_file_that_does_not_grow_for_ever(
        self, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(nonces, '_MOST_LINES', 10)
        memory = tmp_path / 'nonces'
        verifier = Verifier(KEY, clock, memory)
        for number in range(1000):
            verifier.check('PUT', '/v1/x', b'{}', header(clock, nonce=f'{number:032x}'))
            clock.now += 1
        assert len(memory.read_text().splitlines()) <= 4 * MAX_SKEW
        clock.now -= 1
        with pytest.raises(Replayed):
            Verifier(KEY, clock, memory).check('PUT', '/v1/x', b'{}', header(clock, nonce=f'{999:032x}'))

    def test_what_cannot_be_noted_is_not_served(self, clock: Clock, tmp_path: Path) -> None:
        verifier = Verifier(KEY, clock, tmp_path / 'nonces')
        os.close(verifier._nonces._file)
        with pytest.raises(Unavailable, match='state folder'):
            verifier.check('PUT', '/v1/x', b'{}', header(clock))


def test_a_wrong_signature_leaves_no_trace(clock: Clock, verifier: Verifier) -> None:
    with pytest.raises(BadSignature):
        verifier.check('PUT', '/v1/x', b'{}', header(clock, key=b'x' * 32))
    verifier.check('PUT', '/v1/x', b'{}', header(clock))


class TestKeys:
    def test_a_short_secret_is_refused(self) -> None:
        with pytest.raises(ValueError, match='32'):
            Keys(b'x' * 31)

    def test_an_account_is_the_same_each_time_and_its_own(self) -> None:
        keys = Keys(b'x' * 32)
        accounts = {keys.account(name, export) for name in ('volume-1', 'volume-2') for export in ('e1', 'e2')}
        assert len(accounts) == 4
        assert keys.account('volume-1', 'e1') in accounts
        assert Keys(b'y' * 32).account('volume-1', 'e1') not in accounts

    def test_an_account_fits_every_initiator(self) -> None:
        for number in range(200):
            user, secret = Keys(b'x' * 32).account('volume-1', str(number))
            assert (len(user), len(secret)) == (20, 16)
            assert (user + secret).isalnum()
            assert user != secret

    def test_an_account_does_not_show_its_secret(self) -> None:
        account = Keys(b'x' * 32).account('volume-1', 'e1')
        assert account.secret not in repr(account)
        assert account.secret not in f'{account}'
