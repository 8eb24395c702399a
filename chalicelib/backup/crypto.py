"""The data key of a chain of backups: hash, authenticate and encrypt with it.

A chain (a full backup and the incrementals that descend from it) has one data key of 256 bits. Its parts are derived
from it, so block identities agree along the chain, and the key that names blocks never encrypts.
"""

from __future__ import annotations

import hmac
import os

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chalicelib.backup.layout import FORMAT
from chalicelib.backup.repository import Data
from chalicelib.errors import IntegrityError

KEY_SIZE = 32
HASH_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16

#: What sealing adds to a block.
SEAL_SIZE = NONCE_SIZE + TAG_SIZE


class DataKey:
    """A chain's data key and the keys derived from it. Thread-safe."""

    def __init__(self, plaintext: bytes, lineage: str) -> None:
        self._identity_key = derive('identity', plaintext)
        self._mac_key = derive('mac', plaintext)
        self._blocks = AESGCM(derive('blocks', plaintext))
        self._tables = AESGCM(derive('tables', plaintext))
        self._volume_keys = AESGCM(derive('volume-keys', plaintext))
        self._context = f'{FORMAT}|{lineage}|'.encode()

    def identity(self, data: Data) -> bytes:
        """Return the keyed hash that names a block within its chain. Without the key it reveals no content."""
        return blake3(data, key=self._identity_key).digest()

    def mac(self, object_key: str, data: Data) -> bytes:
        """Return the code that binds bytes to their object's key: under another key they do not verify."""
        return blake3(object_key.encode() + b'\0' + data, key=self._mac_key).digest()

    def check_mac(self, object_key: str, data: Data, mac: bytes) -> None:
        """Raises IntegrityError."""
        if not hmac.compare_digest(self.mac(object_key, data), mac):
            raise IntegrityError(key=object_key, reason='its authentication code is wrong')

    def seal_block(self, identity: bytes, data: Data, into: memoryview) -> None:
        """Encrypt a block's payload into exactly ``len(data) + SEAL_SIZE`` bytes: nonce, ciphertext, tag.

        Nonces are random: 2**32 blocks (2 PiB of changes) under one key keep a collision below 2**-32.
        """
        nonce = os.urandom(NONCE_SIZE)
        into[:NONCE_SIZE] = nonce
        self._blocks.encrypt_into(nonce, data, self._context + identity, into[NONCE_SIZE:])

    def open_block(self, identity: bytes, frame: Data, into: memoryview) -> None:
        """Decrypt a frame into exactly ``len(frame) - SEAL_SIZE`` bytes. Raises InvalidTag."""
        view = memoryview(frame)
        self._blocks.decrypt_into(view[:NONCE_SIZE], view[NONCE_SIZE:], self._context + identity, into)

    def seal_table(self, object_key: str, data: Data) -> bytes:
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._tables.encrypt(nonce, data, self._context + object_key.encode())

    def open_table(self, object_key: str, sealed: bytes) -> bytes:
        """Raises IntegrityError."""
        try:
            return self._tables.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], self._context + object_key.encode())
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(key=object_key, reason='its entries do not decrypt') from error

    def seal_volume_key(self, object_key: str, owner: str, data: Data) -> bytes:
        """Encrypt the key of a volume for one object and one ``owner``: the key's project and id."""
        nonce = os.urandom(NONCE_SIZE)
        return nonce + self._volume_keys.encrypt(nonce, data, self._owned(object_key, owner))

    def open_volume_key(self, object_key: str, owner: str, sealed: bytes) -> bytes:
        """Raises IntegrityError."""
        try:
            return self._volume_keys.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], self._owned(object_key, owner))
        except (InvalidTag, ValueError) as error:
            raise IntegrityError(key=object_key, reason='the key of the volume does not decrypt') from error

    def _owned(self, object_key: str, owner: str) -> bytes:
        return self._context + f'{object_key}|{owner}'.encode()


def digest(data: Data) -> bytes:
    """Return the unkeyed hash with which the collector, which has no key, detects damage."""
    return blake3(data).digest()


def derive(purpose: str, *secrets: bytes) -> bytes:
    return blake3(b''.join(secrets), derive_key_context=f'{FORMAT} {purpose}').digest()
