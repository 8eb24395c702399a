"""Checks where moto is more lenient than AWS and a workflow would notice: they reject the calls that AWS rejects.

A check gets a call before moto does and returns AWS's refusal, or None. ``TransactWriteItems`` is also remembered by
its token, as AWS does for ten minutes. Each rule has a test in ``tests/unit/local/test_fidelity.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

from local.calls import Answer, Call, json_error, xml_error
from local.ebs import Ebs
from local.settings import ACCOUNT, REGION
from local.stepfunctions import MAX_PAYLOAD

Check = Callable[[Call], Answer | None]

#: Seconds for which DynamoDB and we remember a transaction's token.
TOKEN_LIFETIME = 600

#: An execution's name: 1 to 80 characters, none of these.
_BAD_NAME = re.compile(r'[\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]')


#: EBS, once it is installed: it answers in moto's place.
_ebs: list[Ebs] = []


def install_ebs() -> None:
    """Let volumes and snapshots be real and strict, as ``local/ebs`` has them."""
    from local.ebs.moto import beside_moto

    _ebs[:] = [beside_moto()]


def ebs() -> Ebs:
    """The EBS that is installed."""
    return _ebs[0]


def instead(call: Call) -> Answer | None:
    """The answer to a call that is none of moto's business."""
    return _ebs[0].answer(call) if _ebs else None


def refusal(call: Call) -> Answer | None:
    """Return AWS's answer to a call that it rejects and moto would accept; None for other calls."""
    check = _CHECKS.get((call.service, call.operation or call.method))
    return check(call) if check else None


def _put_object(call: Call) -> Answer | None:
    """S3 compares what was sent with the checksums that were sent: a body damaged on its way is never stored."""
    if call.headers.get('x-amz-content-sha256', '').startswith('STREAMING'):
        return None  # the checksum is a trailer within the body
    for header, (name, digest) in _DIGESTS.items():
        sent = call.headers.get(header)
        if sent is not None and sent != digest(call.body):
            return xml_error(400, 'BadDigest', f'The {name} you specified did not match the calculated checksum.')
    return None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


_DIGESTS: dict[str, tuple[str, Callable[[bytes], str]]] = {
    'content-md5': ('Content-MD5', lambda body: _base64(hashlib.md5(body, usedforsecurity=False).digest())),
    'x-amz-checksum-crc32': ('CRC32', lambda body: _base64(zlib.crc32(body).to_bytes(4, 'big'))),
    'x-amz-checksum-sha1': ('SHA1', lambda body: _base64(hashlib.sha1(body, usedforsecurity=False).digest())),
    'x-amz-checksum-sha256': ('SHA256', lambda body: _base64(hashlib.sha256(body).digest())),
}


def _start_execution(call: Call) -> Answer | None:
    """A name that AWS would not take, and an input above the payload limit."""
    parameters = call.json()
    name, size = parameters.get('name'), len(str(parameters.get('input', '')).encode())
    if name is not None and (not 0 < len(name) <= 80 or _BAD_NAME.search(name)):
        return json_error(400, 'InvalidName', f"Invalid Name: '{name}'")
    if size > MAX_PAYLOAD:
        message = (
            f"1 validation error detected: Value at 'input' failed to satisfy constraint: at most {MAX_PAYLOAD} bytes"
        )
        return json_error(400, 'ValidationException', message)
    return None


def _use_key(call: Call) -> Answer | None:
    """A key that is disabled, or waits for its deletion, neither seals nor opens."""
    from moto.kms.models import kms_backends

    parameters = call.json()
    name = parameters.get('KeyId') or _sealed_by(str(parameters.get('CiphertextBlob', '')))
    keys = kms_backends[ACCOUNT][REGION].keys
    key = keys.get(str(name).rpartition('/')[2])
    if key is None or key.key_state not in _UNUSABLE:
        return None
    return json_error(400, _UNUSABLE[key.key_state], f'{key.arn} is {key.key_state}.')


#: Key state -> the error of every use.
_UNUSABLE = {'Disabled': 'DisabledException', 'PendingDeletion': 'KMSInvalidStateException'}


def _sealed_by(blob: str) -> str:
    """Return the id of the key, which moto writes in front of the ciphertext."""
    return base64.b64decode(blob)[:36].decode('ascii', 'replace')


class Transactions:
    """DynamoDB's memory of ``ClientRequestToken``: a repeat with the same request changes nothing and succeeds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, str]] = {}

    def refusal(self, call: Call) -> Answer | None:
        """The answer to a repeated token: success, or a mismatch when the request differs."""
        token, digest = _token(call)
        with self._lock:
            self._forget()
            known = self._known.get(token)
        if not token or known is None:
            return None
        if known[1] != digest:
            return json_error(400, 'IdempotentParameterMismatchException', 'The request differs from that of its token')
        return 200, {'Content-Type': 'application/x-amz-json-1.0'}, '{}'

    def observe(self, call: Call, answer: Answer) -> None:
        """Remember a transaction that succeeded."""
        token, digest = _token(call)
        if token and answer[0] == 200:
            with self._lock:
                self._known[token] = (self._clock() + TOKEN_LIFETIME, digest)

    def _forget(self) -> None:
        now = self._clock()
        for token in [token for token, (until, _) in self._known.items() if until < now]:
            del self._known[token]


def _token(call: Call) -> tuple[str, str]:
    parameters: dict[str, Any] = call.json()
    token = str(parameters.pop('ClientRequestToken', ''))
    return token, hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


_transactions = Transactions()


def observe(call: Call, answer: Answer) -> None:
    """Record moto's answer to a transaction."""
    if call.service == 'dynamodb' and call.operation == 'TransactWriteItems':
        _transactions.observe(call, answer)


_CHECKS: dict[tuple[str, str], Check] = {
    ('s3', 'PUT'): _put_object,
    ('kms', 'Encrypt'): _use_key,
    ('kms', 'Decrypt'): _use_key,
    ('kms', 'GenerateDataKey'): _use_key,
    ('states', 'StartExecution'): _start_execution,
    ('dynamodb', 'TransactWriteItems'): _transactions.refusal,
}
