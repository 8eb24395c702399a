"""Keys and accounts that agent and driver derive from the shared secret, so that no other secret is stored or sent.

The CHAP account of an export is ``HMAC-SHA256(chap key, <user|secret> \\n <object name> \\n <export id>)`` written in
letters and digits: the agent sets it in tgtd, the driver puts it into the connection data; it is never transmitted
between them. An export id always yields the same account. A new shared secret yields new accounts: the agent's next
start binds them, and connected hosts keep their session but need new connection data for their next login.
"""

from __future__ import annotations

import hashlib
import hmac
import string
from typing import NamedTuple

#: Minimal length of the shared secret in bytes.
MIN_SECRET = 32

#: Cinder's lengths of CHAP users and secrets; initiators accept 12 to 16 characters as a secret.
USER_LENGTH = 20
SECRET_LENGTH = 16

_LETTERS = string.ascii_letters + string.digits


class Account(NamedTuple):
    """A CHAP account. Its repr does not show the secret."""

    user: str
    secret: str

    def __repr__(self) -> str:
        return f'Account(user={self.user!r})'


class Keys:
    """One derived key per purpose."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET:
            raise ValueError(f'the shared secret has {len(secret)} bytes; it needs {MIN_SECRET} or more')
        self.requests = _hmac(secret, 'cinderless appliance: requests')
        self._chap = _hmac(secret, 'cinderless appliance: CHAP')

    def account(self, object_name: str, export_id: str) -> Account:
        """Return the CHAP account of one export of one volume or snapshot."""
        path = f'{object_name}\n{export_id}'
        user = _letters(_hmac(self._chap, f'user\n{path}'), USER_LENGTH)
        return Account(user, _letters(_hmac(self._chap, f'secret\n{path}'), SECRET_LENGTH))


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _letters(digest: bytes, length: int) -> str:
    """Return ``length`` characters of the digest, as a number in letters and digits, lowest digit first."""
    number, characters = int.from_bytes(digest, 'big'), []
    for _ in range(length):
        number, digit = divmod(number, len(_LETTERS))
        characters.append(_LETTERS[digit])
    return ''.join(characters)
