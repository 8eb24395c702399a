"""Hashes that are put away and taken up again are the hashes of the whole."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.clients import digest


def test_this_interpreter_can_pause() -> None:
    assert digest.is_pausable()


@pytest.mark.parametrize('algorithm', sorted(digest.ALGORITHMS))
@given(parts=st.lists(st.binary(max_size=300), max_size=8))
def test_paused_after_each_part(algorithm: str, parts: list[bytes]) -> None:
    hash_ = digest.begin(algorithm)
    for part in parts:
        hash_.update(part)
        if hash_.state():
            hash_ = digest.begin(algorithm, hash_.state())
    assert hash_.hexdigest() == hashlib.new(algorithm, b''.join(parts)).hexdigest()


@pytest.mark.parametrize('algorithm', ['md5', 'sha256', 'sha512'])
def test_what_glance_uses_can_be_paused(algorithm: str) -> None:
    hash_ = digest.begin(algorithm)
    hash_.update(b'x' * 1000)
    state = hash_.state()
    assert 0 < len(state) < 300
    assert digest.begin(algorithm, state).hexdigest() == hashlib.new(algorithm, b'x' * 1000).hexdigest()


@pytest.mark.parametrize(
    ('algorithm', 'state'), [('sha512', 'AAAA'), ('sha512', '?'), ('md5', 'x' * 500), ('sha1', 'AAAA')]
)
def test_a_state_that_is_not_its_own(algorithm: str, state: str) -> None:
    with pytest.raises(ValueError, match='state of a'):
        digest.begin(algorithm, state)


def test_without_openssl_the_hash_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, 'is_pausable', lambda: False)
    hash_ = digest.begin('sha512')
    hash_.update(b'abc')
    assert hash_.state() == ''
    assert hash_.hexdigest() == hashlib.sha512(b'abc').hexdigest()
