"""Stored passwords."""

from __future__ import annotations

import hashlib

import pytest

from chalicelib.identity import secret
from chalicelib.identity.secret import hash_secret, is_hash, matches, plain_secret

from .conftest import DEMO_HASH


@pytest.mark.parametrize('password', ['demo-password', 'p' * 5000, 'pässwörd ☃', '\ud800'])
def test_a_hash_matches_its_password_alone(password: str) -> None:
    stored = hash_secret(password)

    assert matches(stored, password)
    assert not matches(stored, password + ' ')
    assert not matches(stored, '')


def test_a_hash_is_salted_and_does_not_hold_the_password() -> None:
    again = hash_secret('demo-password')

    assert again != DEMO_HASH
    assert 'demo-password' not in DEMO_HASH


def test_the_stored_form_is_plain_scrypt() -> None:
    _, _, _, salt, digest = DEMO_HASH.split('$')

    expected = hashlib.scrypt(b'demo-password', salt=secret._decode(salt), n=2**14, r=8, p=1, maxmem=2**26, dklen=32)
    assert secret._decode(digest) == expected


def test_a_plain_secret_matches_itself_alone() -> None:
    stored = plain_secret('demo')

    assert matches(stored, 'demo')
    assert not matches(stored, '$plain$demo')
    assert not matches(stored, 'dem')


def test_a_hash_of_low_cost_from_elsewhere_is_checked_at_its_own_cost() -> None:
    digest = hashlib.scrypt(b'demo', salt=b'0123456789abcdef', n=2**4, r=2, p=2, dklen=64)
    stored = f'$scrypt$ln=4,r=2,p=2${secret._encode(b"0123456789abcdef")}${secret._encode(digest)}'

    assert is_hash(stored)
    assert matches(stored, 'demo')
    assert not matches(stored, 'demo2')


@pytest.mark.parametrize(
    'stored',
    [
        '',
        'demo-password',
        '$plain$demo',
        '$2b$12$' + 'a' * 53,
        DEMO_HASH[:-20],
        DEMO_HASH + '!',
        DEMO_HASH.replace('ln=14', 'ln=17'),
        DEMO_HASH.replace('ln=14', 'ln=0'),
        DEMO_HASH.replace('r=8', 'r=64'),
        DEMO_HASH.replace('p=1', 'p=9'),
        DEMO_HASH + 'AA',
    ],
)
def test_what_is_no_bearable_hash_is_known_as_such(stored: str) -> None:
    assert not is_hash(stored)


def test_nothing_matches_what_is_not_in_stored_form() -> None:
    assert not matches('demo', 'demo')
