"""Wrapping of a chain's data key, so that it can be stored beside the data: by KMS (``s3``), or to a recovery key."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.backup.crypto import KEY_SIZE, NONCE_SIZE, derive
from chalicelib.errors import KeyUnavailable

#: One data key, wrapped in one or more ways: name of the way -> base64. Manifests store it in clear.
WrappedKeys = Mapping[str, str]

KMS = 'kms'
RECOVERY = 'recovery'


class KeyWrapper(Protocol):
    """Makes data keys, wraps and unwraps them. Raises KeyUnavailable."""

    def generate(self, lineage: str) -> tuple[bytes, WrappedKeys]:
        """Return a new data key of 32 bytes, in clear and wrapped; the wrapped one opens for this lineage only."""

    def wrap(self, lineage: str, plaintext: bytes) -> WrappedKeys:
        """Wrap an existing data key."""

    def unwrap(self, lineage: str, wrapped: WrappedKeys) -> bytes: ...


def decode_wrapped(lineage: str, wrapped: WrappedKeys, way: str) -> bytes:
    """Return the data key as wrapped in one ``way``. Raises KeyUnavailable when it was not wrapped so."""
    try:
        return base64.b64decode(wrapped[way], validate=True)
    except KeyError as error:
        reason = f'it is wrapped by {", ".join(sorted(wrapped)) or "nothing"}, not by {way}'
        raise KeyUnavailable(lineage=lineage, reason=reason) from error
    except (binascii.Error, TypeError, ValueError) as error:
        raise KeyUnavailable(lineage=lineage, reason=f'what {way} wrapped is not base64') from error


class RecoveryKeyWrapper:
    """Data keys wrapped to an X25519 key pair. Wrapping needs the public half only, so the service has only that half.

    A wrapped key is an ephemeral public key (32 bytes), then the data key sealed with AES-256-GCM. The sealing key is
    used once, so its nonce may be zero.
    """

    def __init__(self, public: bytes, private: bytes | None = None) -> None:
        self._public = X25519PublicKey.from_public_bytes(public)
        self._private = X25519PrivateKey.from_private_bytes(private) if private else None

    @classmethod
    def from_private(cls, private: bytes) -> RecoveryKeyWrapper:
        return cls(public_half(private), private)

    def generate(self, lineage: str) -> tuple[bytes, WrappedKeys]:
        plaintext = os.urandom(KEY_SIZE)
        return plaintext, self.wrap(lineage, plaintext)

    def wrap(self, lineage: str, plaintext: bytes) -> WrappedKeys:
        ephemeral = X25519PrivateKey.generate()
        sender = _raw(ephemeral.public_key())
        cipher = AESGCM(derive('recovery', ephemeral.exchange(self._public), sender, _raw(self._public)))
        sealed = sender + cipher.encrypt(bytes(NONCE_SIZE), plaintext, lineage.encode())
        return {RECOVERY: base64.b64encode(sealed).decode()}

    def unwrap(self, lineage: str, wrapped: WrappedKeys) -> bytes:
        sealed = decode_wrapped(lineage, wrapped, RECOVERY)
        if self._private is None:
            raise KeyUnavailable(lineage=lineage, reason='only the public half of the recovery key is available')
        sender = sealed[:KEY_SIZE]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(sender))
            cipher = AESGCM(derive('recovery', shared, sender, _raw(self._public)))
            return cipher.decrypt(bytes(NONCE_SIZE), sealed[KEY_SIZE:], lineage.encode())
        except (InvalidTag, ValueError) as error:
            raise KeyUnavailable(lineage=lineage, reason='the recovery key is a different one or damaged') from error


class RecoverableKeyWrapper:
    """Wraps a data key twice: as ``primary`` does, and to a recovery key, in case the primary's key is lost."""

    def __init__(self, primary: KeyWrapper, recovery: RecoveryKeyWrapper) -> None:
        self._primary = primary
        self._recovery = recovery

    def generate(self, lineage: str) -> tuple[bytes, WrappedKeys]:
        plaintext, wrapped = self._primary.generate(lineage)
        return plaintext, {**wrapped, **self._recovery.wrap(lineage, plaintext)}

    def wrap(self, lineage: str, plaintext: bytes) -> WrappedKeys:
        return {**self._primary.wrap(lineage, plaintext), **self._recovery.wrap(lineage, plaintext)}

    def unwrap(self, lineage: str, wrapped: WrappedKeys) -> bytes:
        return self._primary.unwrap(lineage, wrapped)


def write_recovery_key(path: Path) -> bytes:
    """Make a key pair; store the private half in a new file readable by its owner only; return the public half."""
    private = os.urandom(KEY_SIZE)
    write_private(path, private.hex() + '\n')
    return public_half(private)


def write_private(path: Path, text: str) -> None:
    """Write a new file that its owner alone may read. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, 'w') as file:
        file.write(text)


def read_recovery_key(path: Path) -> RecoveryKeyWrapper:
    """Raises KeyUnavailable when the file is not one that ``write_recovery_key`` wrote."""
    try:
        private = bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError) as error:
        raise KeyUnavailable(f'{path} is not a recovery key: {error}') from error
    if len(private) != KEY_SIZE:
        raise KeyUnavailable(f'{path} is not a recovery key: it has {len(private)} bytes, not {KEY_SIZE}')
    return RecoveryKeyWrapper.from_private(private)


def public_half(private: bytes) -> bytes:
    return _raw(X25519PrivateKey.from_private_bytes(private).public_key())


def _raw(public: X25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)
