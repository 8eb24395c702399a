from __future__ import annotations

import base64
import contextlib
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.iscsi import chap
from chalicelib.iscsi.chap import Credentials, Exchange, LoginRefused
from chalicelib.iscsi.pdu import Malformed

ONE_WAY = Credentials('cinder', 'our-secret')
MUTUAL = Credentials('cinder', 'our-secret', 'target', 'their-secret')
CHALLENGE = {'CHAP_A': '5', 'CHAP_I': '17', 'CHAP_C': '0x0102030405'}

HASHES = {'5': 'md5', '6': 'sha1', '7': 'sha256', '8': 'sha3_256'}


@pytest.mark.parametrize('algorithm', HASHES)
def test_the_response_is_the_hash_of_identifier_secret_and_challenge(algorithm: str) -> None:
    expected = hashlib.new(HASHES[algorithm], b'\x11our-secret\1\2\3\4\5').hexdigest()
    reply = Exchange(ONE_WAY).respond(CHALLENGE | {'CHAP_A': algorithm})
    assert reply == {'CHAP_N': 'cinder', 'CHAP_R': '0x' + expected}


def test_a_known_response() -> None:
    """Worked out with md5sum: printf '\\x11our-secret\\x01\\x02\\x03\\x04\\x05' | md5sum."""
    assert Exchange(ONE_WAY).respond(CHALLENGE)['CHAP_R'] == '0x6704d976f6863fda40803e8a40c1610e'


def test_all_algorithms_are_offered_and_sha256_after_md5() -> None:
    """tgt takes 7 for SHA-1; it must find 5 first."""
    offered = chap.OFFER.split(',')
    assert sorted(offered) == sorted(chap.ALGORITHMS)
    assert offered.index('5') < offered.index('7')


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=1024))
def test_binary_values_in_both_forms(value: bytes) -> None:
    assert chap.decode(chap.encode(value)) == value
    assert chap.decode('0X' + value.hex().upper()) == value
    assert chap.decode('0b' + base64.b64encode(value).decode()) == value


@settings(deadline=None)
@given(st.text(max_size=50) | st.text(max_size=50).map('0x'.__add__) | st.text(max_size=50).map('0b'.__add__))
def test_any_value_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert chap.decode(text)


@pytest.mark.parametrize('value', ['', '0x', '0b', '12', '0x1', '0xzz', '0b=', '0b!!!!', '0x' + '00' * 1025])
def test_bad_values_are_refused(value: str) -> None:
    with pytest.raises(Malformed):
        chap.decode(value)


@pytest.mark.parametrize('identifier', ['', '-1', '256', '1.0', '0x11', '٣', '9' * 5000])
def test_bad_identifiers_are_refused(identifier: str) -> None:
    with pytest.raises(Malformed, match='CHAP_I'):
        Exchange(ONE_WAY).respond(CHALLENGE | {'CHAP_I': identifier})


@pytest.mark.parametrize('missing', CHALLENGE)
def test_a_challenge_that_lacks_a_key_is_refused(missing: str) -> None:
    with pytest.raises(Malformed, match=missing):
        Exchange(ONE_WAY).respond({key: value for key, value in CHALLENGE.items() if key != missing})


@pytest.mark.parametrize('algorithm', ['4', '9', '05', 'md5', ''])
def test_an_algorithm_that_was_not_offered_is_refused(algorithm: str) -> None:
    with pytest.raises(LoginRefused, match='not offered'):
        Exchange(ONE_WAY).respond(CHALLENGE | {'CHAP_A': algorithm})


class TestMutual:
    def prove(self, reply: dict[str, str], secret: str = 'their-secret', name: str = 'target') -> dict[str, str]:
        challenge = bytes([int(reply['CHAP_I'])]) + secret.encode() + bytes.fromhex(reply['CHAP_C'][2:])
        return {'CHAP_N': name, 'CHAP_R': '0x' + hashlib.md5(challenge).hexdigest()}

    def test_a_target_that_knows_its_secret(self) -> None:
        exchange = Exchange(MUTUAL)
        exchange.verify(self.prove(exchange.respond(CHALLENGE)))

    def test_one_that_does_not(self) -> None:
        exchange = Exchange(MUTUAL)
        reply = exchange.respond(CHALLENGE)
        short = self.prove(reply)
        short['CHAP_R'] = short['CHAP_R'][:-2]
        for wrong in (self.prove(reply, secret='our-secret'), self.prove(reply, name='another'), short):
            with pytest.raises(LoginRefused, match='wrong name or secret'):
                exchange.verify(wrong)

    def test_one_that_does_not_even_try(self) -> None:
        exchange = Exchange(MUTUAL)
        proof = self.prove(exchange.respond(CHALLENGE))
        for part in ({}, {'CHAP_N': proof['CHAP_N']}, {'CHAP_R': proof['CHAP_R']}):
            with pytest.raises(LoginRefused, match='did not authenticate itself'):
                exchange.verify(part)

    def test_any_name_will_do_where_none_is_configured(self) -> None:
        exchange = Exchange(Credentials('cinder', 'our-secret', None, 'their-secret'))
        exchange.verify(self.prove(exchange.respond(CHALLENGE), name='any-name'))

    def test_challenges_are_never_the_same(self) -> None:
        challenges = {Exchange(MUTUAL).respond(CHALLENGE)['CHAP_C'] for _ in range(20)}
        assert len(challenges) == 20
        assert all(len(challenge) == 2 + 2 * 32 for challenge in challenges)

    def test_our_own_challenge_is_not_answered(self) -> None:
        """A target without the secret could have us compute the response it owes us."""
        exchange = Exchange(MUTUAL)
        ours = exchange.respond(CHALLENGE)['CHAP_C']
        with pytest.raises(LoginRefused, match='the challenge of the initiator'):
            exchange.respond(CHALLENGE | {'CHAP_C': ours})

    def test_one_way_chap_asks_for_no_proof(self) -> None:
        exchange = Exchange(ONE_WAY)
        assert 'CHAP_C' not in exchange.respond(CHALLENGE)
        exchange.verify({})


def test_secrets_do_not_show() -> None:
    assert 'secret' not in repr(MUTUAL) + str(MUTUAL)
    assert "username='cinder'" in repr(MUTUAL)
