"""Signed tokens: a token holds everything that it means, under an HMAC, so nothing is stored.

    c1.<payload, base64url of JSON>.<HMAC-SHA256 of all before it, base64url>

A token is a bearer proof and carries no secret: its payload is readable.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import NamedTuple

from chalicelib.errors import Unauthorized

_VERSION = 'c1'

#: Tokens of this identity are below 700 characters; longer ones are refused unread.
MAX_LENGTH = 2048


#: Ancestors that a token may have: it holds the ids of all, and its length is limited by ``MAX_LENGTH``.
MAX_CHAIN = 24


class Token(NamedTuple):
    """The content of a token. Times are whole seconds since the epoch."""

    user_id: str
    #: None: not scoped to a project.
    project_id: str | None
    #: With the implied ones.
    roles: frozenset[str]
    methods: tuple[str, ...]
    #: Its own id, then those of its ancestors: parent first, the oldest last.
    audit_ids: tuple[str, ...]
    issued_at: int
    expires_at: int
    application_credential_id: str | None = None
    #: ``stamp`` of the stored password or secret that it was issued for; '' in tokens of version 0.1.
    stamp: str = ''


def stamp(stored: str | None, key: bytes) -> str:
    """Return 72 bits that change with a stored password or secret, and reveal nothing of it; None: there is none."""
    return _encode(hmac.digest(key, b'stamp:' + (stored or '').encode(errors='surrogatepass'), 'sha256')[:9])


def new_audit_id() -> str:
    """Return 128 random bits in Keystone's format."""
    return secrets.token_urlsafe(16)


def seal(token: Token, key: bytes) -> str:
    """Return ``token`` as text, signed with ``key``."""
    fields = token._asdict() | {'roles': sorted(token.roles)}
    payload = json.dumps(list(fields.values()), separators=(',', ':'))
    signed = f'{_VERSION}.{_encode(payload.encode())}'
    return f'{signed}.{_signature(signed, key)}'


def unseal(text: str, key: bytes) -> Token:
    """Return the token that ``seal`` wrote with ``key``; raises Unauthorized for any other text."""
    signed, _, signature = text.rpartition('.')
    well_formed = len(text) <= MAX_LENGTH and text.isascii()
    if not (well_formed and hmac.compare_digest(signature, _signature(signed, key))):
        raise Unauthorized
    user_id, project_id, roles, methods, audit_ids, *rest = json.loads(_decode(signed.partition('.')[2]))
    return Token(user_id, project_id, frozenset(roles), tuple(methods), tuple(audit_ids), *rest)


def _signature(signed: str, key: bytes) -> str:
    return _encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip('=')


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
