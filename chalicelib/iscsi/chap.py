"""CHAP: the initiator proves to the target that it has the secret; in mutual CHAP the target does so, too.

RFC 7143, section 12.1, over RFC 1994: response = H(identifier, secret, challenge).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping

from chalicelib.iscsi.pdu import Malformed

#: CHAP_A (RFC 7143, section 12.1.3; IANA "PPP Authentication Algorithms") -> hash.
ALGORITHMS: Mapping[str, Callable[[bytes], hashlib._Hash]] = {
    '5': hashlib.md5,
    '6': hashlib.sha1,
    '7': hashlib.sha256,
    '8': hashlib.sha3_256,
}

#: In order of preference; the target picks the first that it supports. SHA-256 comes after MD5, since tgt and its
#: ancestor IET take 7 for SHA-1: offered before 5, no login with the right secret would succeed there.
OFFER = '8,6,5,7'

#: Bytes of a challenge or response, at most (RFC 7143, section 12.1.4).
_LONGEST = 1024
_CHALLENGE_SIZE = 32

_DECODERS: Mapping[str, Callable[[str], bytes]] = {
    '0x': binascii.unhexlify,
    '0b': functools.partial(base64.b64decode, validate=True),
}


class LoginRefused(Exception):
    """The target refused the login, or the initiator refused the target. Only a change of configuration helps."""


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """``username``/``password`` authenticate the initiator; ``target_*``, if given, authenticate the target."""

    username: str
    password: str = dataclasses.field(repr=False)
    target_username: str | None = None
    target_password: str | None = dataclasses.field(default=None, repr=False)

    @property
    def mutual(self) -> bool:
        return self.target_password is not None


class Exchange:
    """One authentication: ``respond`` to the target's challenge, then ``verify`` its response to the initiator's."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._algorithm = ''
        self._identifier = secrets.randbelow(256)
        self._challenge = secrets.token_bytes(_CHALLENGE_SIZE)

    def respond(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Return CHAP_N and CHAP_R for CHAP_A, CHAP_I and CHAP_C; with mutual CHAP also the initiator's challenge.

        Raises Malformed on keys that are missing or unreadable, LoginRefused on an algorithm that was not offered.
        """
        self._algorithm = _require(keys, 'CHAP_A')
        if self._algorithm not in ALGORITHMS:
            raise LoginRefused(f'the target chose a CHAP algorithm that was not offered ({OFFER})')
        identifier, challenge = _identifier(_require(keys, 'CHAP_I')), decode(_require(keys, 'CHAP_C'))
        if challenge == self._challenge:
            raise LoginRefused('the target sent the challenge of the initiator')
        answer = self._hash(identifier, self._credentials.password, challenge)
        reply = {'CHAP_N': self._credentials.username, 'CHAP_R': encode(answer)}
        if self._credentials.mutual:
            reply |= {'CHAP_I': str(self._identifier), 'CHAP_C': encode(self._challenge)}
        return reply

    def verify(self, keys: Mapping[str, str]) -> None:
        """Check the target's CHAP_N and CHAP_R; one-way CHAP has none. Raises LoginRefused, Malformed."""
        if self._credentials.target_password is None:
            return
        if 'CHAP_N' not in keys or 'CHAP_R' not in keys:
            raise LoginRefused('the target did not authenticate itself, as mutual CHAP demands')
        expected = self._hash(self._identifier, self._credentials.target_password, self._challenge)
        named = self._credentials.target_username in (None, keys['CHAP_N'])
        if not hmac.compare_digest(expected, decode(keys['CHAP_R'])) or not named:
            raise LoginRefused('the target gave a wrong name or secret in mutual CHAP')

    def _hash(self, identifier: int, password: str, challenge: bytes) -> bytes:
        return ALGORITHMS[self._algorithm](bytes([identifier]) + password.encode() + challenge).digest()


def encode(value: bytes) -> str:
    return '0x' + value.hex()


def decode(text: str) -> bytes:
    """Decode a large binary value: 0x and hexadecimal digits, or 0b and base64 (RFC 7143, section 6.1)."""
    decoder = _DECODERS.get(text[:2].lower())
    if decoder is None or not 2 < len(text) <= 2 + 2 * _LONGEST:
        raise Malformed('a CHAP value is neither hexadecimal nor base64, or too long')
    try:
        return decoder(text[2:])
    except ValueError:
        raise Malformed('a CHAP value is not valid hexadecimal or base64') from None


def _identifier(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 3 or int(text) > 255:
        raise Malformed('CHAP_I is not a number from 0 to 255')
    return int(text)


def _require(keys: Mapping[str, str], key: str) -> str:
    if key not in keys:
        raise Malformed(f'the target sent no {key}')
    return keys[key]
