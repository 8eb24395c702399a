"""Stored passwords and application-credential secrets: scrypt, or plain text in documents marked as local."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re

#: 16 MiB and about 50 ms per attempt: fits the smallest Lambda function.
LOG_COST, BLOCK_SIZE, PARALLELISM = 14, 8, 1

#: With a larger cost, checking a stored hash would need more than 64 MiB.
MAX_LOG_COST = 16

_FORM = re.compile(r'\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{16,})\$([A-Za-z0-9+/]{32,})')
_PLAIN = '$plain$'


def hash_secret(secret: str) -> str:
    """Return ``$scrypt$ln=..,r=..,p=..$salt$digest``, the form in which a document stores ``secret``."""
    salt = os.urandom(16)
    digest = _scrypt(secret, salt, LOG_COST, BLOCK_SIZE, PARALLELISM, 32)
    return f'$scrypt$ln={LOG_COST},r={BLOCK_SIZE},p={PARALLELISM}${_encode(salt)}${_encode(digest)}'


def plain_secret(secret: str) -> str:
    """Return the stored form of a plain secret of a local document."""
    return _PLAIN + secret


def is_hash(stored: str) -> bool:
    """Return whether ``stored`` is a hash that ``matches`` can check at an acceptable cost."""
    form = _FORM.fullmatch(stored)
    if form is None:
        return False
    cost, block_size, parallelism = (int(form[group]) for group in (1, 2, 3))
    return 1 <= cost <= MAX_LOG_COST and 1 <= block_size <= 8 and 1 <= parallelism <= 4 and _decodes(form)


def matches(stored: str, secret: str) -> bool:
    """Compare in constant time."""
    if stored.startswith(_PLAIN):
        return hmac.compare_digest(stored.removeprefix(_PLAIN).encode(), _bytes(secret))
    form = _FORM.fullmatch(stored)
    if form is None:
        return False
    digest = _decode(form[5])
    return hmac.compare_digest(
        digest, _scrypt(secret, _decode(form[4]), int(form[1]), int(form[2]), int(form[3]), len(digest))
    )


def _scrypt(secret: str, salt: bytes, cost: int, block_size: int, parallelism: int, length: int) -> bytes:
    return hashlib.scrypt(_bytes(secret), salt=salt, n=2**cost, r=block_size, p=parallelism, maxmem=2**27, dklen=length)


def _bytes(secret: str) -> bytes:
    return secret.encode('utf-8', 'surrogatepass')


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip('=')


def _decode(text: str) -> bytes:
    return base64.b64decode(text + '=' * (-len(text) % 4))


def _decodes(form: re.Match[str]) -> bool:
    try:
        return bool(_decode(form[4]) and _decode(form[5]))
    except binascii.Error:
        return False
