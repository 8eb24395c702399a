"""A second reader of the backup format, written from docs/explanation/backup-format.md only: no shared code.

    python reader.py FOLDER LINEAGE BACKUP RECOVERY_KEY_FILE OUTPUT

It knows folders and recovery keys. Anything unexpected is an error, and nothing unproven is written.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT = 'cinderless-backup-1'
HEADER = struct.Struct('<8sIIIIIQII32s32s')
ENTRY = struct.Struct('<32sIIII')


class Damaged(Exception):
    """The repository does not have the format."""


class Keys(NamedTuple):
    identity: bytes
    mac: bytes
    blocks: AESGCM
    tables: AESGCM
    volume_keys: AESGCM


def check(truth: bool, what: str) -> None:
    if not truth:
        raise Damaged(what)


def derive(purpose: str, material: bytes) -> bytes:
    return blake3(material, derive_key_context=f'{FORMAT} {purpose}').digest()


def unwrap(private: bytes, lineage: str, wrapped: bytes) -> bytes:
    """The data key out of what was wrapped to a recovery key."""
    own = X25519PrivateKey.from_private_bytes(private)
    public = own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = own.exchange(X25519PublicKey.from_public_bytes(wrapped[:32]))
    cipher = AESGCM(derive('recovery', shared + wrapped[:32] + public))
    return cipher.decrypt(bytes(12), wrapped[32:], lineage.encode())


class Reader:
    def __init__(self, folder: Path, lineage: str, private: bytes) -> None:
        self.folder = folder
        self.lineage = lineage
        self.private = private
        self.context = f'{FORMAT}|{lineage}|'.encode()

    def restore(self, backup: str, output: BinaryIO) -> None:
        manifest = self.read_manifest(backup)
        output.truncate(manifest['size'])
        for index, (owner, mac) in enumerate(manifest['shards']):
            self.restore_shard(manifest, index, owner, mac, output)

    def read_manifest(self, backup: str) -> dict[str, Any]:
        key = f'backups/{self.lineage}/{backup}'
        first, second, rest = (self.folder / key).read_bytes().split(b'\n')
        manifest: dict[str, Any] = json.loads(first)
        check(manifest['format'] == FORMAT and not rest, 'another format')
        data_key = unwrap(self.private, self.lineage, base64.b64decode(manifest['keys']['recovery']))
        ciphers = [AESGCM(derive(purpose, data_key)) for purpose in ('blocks', 'tables', 'volume-keys')]
        self.keys = Keys(derive('identity', data_key), derive('mac', data_key), *ciphers)
        check(second == b'{"mac":"%b"}' % self.mac(key, first).hex().encode(), 'manifest: wrong code')
        root = blake3(b''.join(bytes.fromhex(mac) for _, mac in manifest['shards'])).hexdigest()
        check(root == manifest['root_hash'], 'manifest: wrong root hash')
        return manifest

    def volume_key(self, backup: str) -> bytes:
        """The key of the encrypted volume."""
        self.read_manifest(backup)
        key = f'volume-keys/{self.lineage}/{backup}'
        first, second, rest = (self.folder / key).read_bytes().split(b'\n')
        code = b'{"mac":"%b"}' % self.mac(key, first).hex().encode()
        check(second == code and not rest, 'volume key: wrong code')
        facts = json.loads(first)['volume_key']
        sealed = base64.b64decode(facts['sealed'])
        about = f'{key}|{facts["project_id"]}/{facts["id"]}'.encode()
        return self.keys.volume_keys.decrypt(sealed[:12], sealed[12:], self.context + about)

    def mac(self, key: str, data: bytes) -> bytes:
        return blake3(key.encode() + b'\0' + data, key=self.keys.mac).digest()

    def read_listing(self, index: int, owner: str, mac: str) -> tuple[list[tuple[str, int]], bytes]:
        """The packs and the entries of one shard."""
        key = f'shards/{self.lineage}/{index:05d}/{owner}'
        data = (self.folder / key).read_bytes()
        header, end = data[: HEADER.size], HEADER.size + 32
        magic, kind, blocks, *_, names_size, sealed_size, names_digest, sealed_digest = HEADER.unpack(header)
        check(magic == b'CLSHARD1' and kind == 1 and mac == data[HEADER.size : end].hex(), f'{key}: another manifest')
        check(self.mac(key, header).hex() == mac, f'{key}: wrong code')
        names, sealed = data[end : end + names_size], data[end + names_size :]
        check(blake3(names).digest() == names_digest, f'{key}: damaged references')
        check(blake3(sealed).digest() == sealed_digest and len(sealed) == sealed_size, f'{key}: damaged entries')
        packs = json.loads(zstandard.decompress(names))['packs']
        entries = self.keys.tables.decrypt(sealed[:12], sealed[12:], self.context + key.encode())
        table = zstandard.decompress(entries)
        check(len(table) == blocks * ENTRY.size, f'{key}: another number of blocks')
        return packs, table

    def restore_shard(self, manifest: dict[str, Any], index: int, owner: str, mac: str, output: BinaryIO) -> None:
        packs, table = self.read_listing(index, owner, mac)
        start = index * manifest['shard_size']
        length = min(manifest['shard_size'], manifest['size'] - start)
        check(len(table) // ENTRY.size == -(-length // manifest['block_size']), 'a shard of another size')
        for block, (identity, pack, offset, size, flags) in enumerate(ENTRY.iter_unpack(table)):
            if not flags:
                continue
            position = block * manifest['block_size']
            frame = self.read_frame(*packs[pack], offset, size)
            data = self.open_block(identity, frame, flags)
            check(len(data) == min(manifest['block_size'], length - position), 'a block of another size')
            output.seek(start + position)
            output.write(data)

    def read_frame(self, key: str, pack_size: int, offset: int, size: int) -> bytes:
        with (self.folder / key).open('rb') as pack:
            check(pack.seek(0, 2) == pack_size, f'{key}: another size')
            pack.seek(offset)
            return pack.read(size)

    def open_block(self, identity: bytes, frame: bytes, flags: int) -> bytes:
        data = self.keys.blocks.decrypt(frame[:12], frame[12:], self.context + identity)
        if flags & 2:
            data = zstandard.decompress(data)
        check(blake3(data, key=self.keys.identity).digest() == identity, 'a block that is another')
        return data


def main(folder: str, lineage: str, backup: str, key_file: str, output: str) -> None:
    private = bytes.fromhex(Path(key_file).read_text())
    with Path(output).open('xb') as file:
        Reader(Path(folder), lineage, private).restore(backup, file)


if __name__ == '__main__':
    main(*sys.argv[1:])
