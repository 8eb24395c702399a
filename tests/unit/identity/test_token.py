"""Signed tokens: what is sealed comes back, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import Unauthorized
from chalicelib.identity.token import MAX_LENGTH, Token, new_audit_id, seal, unseal

KEY = b'k' * 32

TOKEN = Token(
    user_id='a' * 32,
    project_id='b' * 32,
    roles=frozenset({'member', 'reader'}),
    methods=('password',),
    audit_ids=('one', 'two'),
    issued_at=1795305600,
    expires_at=1795309200,
    application_credential_id='c' * 32,
)

names = st.text(min_size=1, max_size=40)
tokens = st.builds(
    Token,
    user_id=names,
    project_id=st.none() | names,
    roles=st.frozensets(names, max_size=5),
    methods=st.lists(names, max_size=3).map(tuple),
    audit_ids=st.lists(names, max_size=2).map(tuple),
    issued_at=st.integers(0, 2**40),
    expires_at=st.integers(0, 2**40),
    application_credential_id=st.none() | names,
)


@given(tokens)
def test_what_was_sealed_is_unsealed(token: Token) -> None:
    text = seal(token, KEY)

    assert len(text) > MAX_LENGTH or unseal(text, KEY) == token


def test_a_token_fits_a_header() -> None:
    full = TOKEN._replace(
        roles=frozenset({'admin', 'manager', 'member', 'reader', 'service'}),
        methods=('token', 'password'),
        audit_ids=(new_audit_id(), new_audit_id()),
    )

    assert len(seal(full, KEY)) < 700


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(Unauthorized):
        unseal(seal(TOKEN, KEY), b'l' * 32)


def test_every_changed_character_is_noticed() -> None:
    text = seal(TOKEN, KEY)

    for place in range(len(text)):
        changed = text[:place] + ('A' if text[place] != 'A' else 'B') + text[place + 1 :]
        with pytest.raises(Unauthorized):
            unseal(changed, KEY)


def test_every_truncation_and_extension_is_noticed() -> None:
    text = seal(TOKEN, KEY)

    for wrong in [*(text[:length] for length in range(len(text))), text + 'A', text + '=', ' ' + text, text + '\n']:
        with pytest.raises(Unauthorized):
            unseal(wrong, KEY)


def test_a_signature_of_one_token_does_not_vouch_for_another() -> None:
    ours, other = seal(TOKEN, KEY), seal(TOKEN._replace(roles=frozenset({'admin'})), KEY)

    with pytest.raises(Unauthorized):
        unseal(f'{other.rpartition(".")[0]}.{ours.rpartition(".")[2]}', KEY)


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        unseal(text, KEY)


@pytest.mark.parametrize('text', ['', '.', '..', 'c1..', 'é.é', 'c1.é.é', 'A' * (MAX_LENGTH + 1)])
def test_odd_texts_are_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        unseal(text, KEY)


def test_audit_ids_do_not_repeat() -> None:
    assert len({new_audit_id() for _ in range(100)}) == 100
