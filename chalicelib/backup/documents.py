"""Authenticated JSON: one line of JSON, and one line with its authentication code.

The code covers the bytes of the first line and the object's key. So JSON needs no canonical spelling, and a document
that was moved or replayed to another key does not verify.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chalicelib.backup.crypto import DataKey
from chalicelib.backup.keys import KeyWrapper
from chalicelib.backup.layout import FORMAT
from chalicelib.errors import IntegrityError, UnsupportedFormat

Body = dict[str, Any]

#: Fields of every document. They are checked before the code is, because verifying it needs ``keys``.
_FIELDS: Mapping[str, Any] = {
    'format': str,
    'lineage': str,
    'backup': str,
    'parent': str | None,
    'size': int,
    'block_size': int,
    'shard_size': int,
    'keys': dict,
}

_SIGNATURE = re.compile(rb'\{"mac":"([0-9a-f]{64})"\}\n')


def encode(key: DataKey, object_key: str, body: Body) -> bytes:
    line = json.dumps({'format': FORMAT, **body}, separators=(',', ':')).encode()
    return b'%b\n{"mac":"%b"}\n' % (line, key.mac(object_key, line).hex().encode())


def decode(object_key: str, lineage: str, data: bytes, wrapper: KeyWrapper) -> tuple[Body, DataKey]:
    """Read and verify. Raises IntegrityError, or KeyUnavailable for a data key that does not unwrap."""
    line, mac = _split(object_key, data)
    body = _parse(object_key, line)
    key = DataKey(wrapper.unwrap(lineage, body['keys']), lineage)
    key.check_mac(object_key, line, mac)
    return body, key


def verify(object_key: str, data: bytes, key: DataKey) -> Body:
    """Read and verify a document of a backup whose data key is known. Raises IntegrityError."""
    line, mac = _split(object_key, data)
    key.check_mac(object_key, line, mac)
    return _parse(object_key, line)


def peek(object_key: str, data: bytes) -> Body:
    """Read without verifying: for lists, and for the collector, which has no keys."""
    return _parse(object_key, _split(object_key, data)[0])


def _split(object_key: str, data: bytes) -> tuple[bytes, bytes]:
    line, _, rest = data.partition(b'\n')
    signature = _SIGNATURE.fullmatch(rest)
    if signature is None:
        raise IntegrityError(key=object_key, reason='it is not an authenticated document')
    return line, bytes.fromhex(signature[1].decode())


def _parse(object_key: str, line: bytes) -> Body:
    try:
        body = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(key=object_key, reason='it is not JSON') from error
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in _FIELDS.items()):
        raise IntegrityError(key=object_key, reason='it is not an authenticated document')
    if body.get('format') != FORMAT:
        reason = f'{object_key} is of format {body.get("format")!r}, and this release reads {FORMAT!r}'
        raise UnsupportedFormat(reason=reason)
    return body
