"""Wrapped data keys: who can open them, and for which lineage."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from chalicelib.backup import engine
from chalicelib.backup.crypto import DataKey
from chalicelib.backup.keys import (
    KMS,
    RECOVERY,
    RecoverableKeyWrapper,
    RecoveryKeyWrapper,
    public_half,
    read_recovery_key,
    write_recovery_key,
)
from chalicelib.backup.layout import backup_key
from chalicelib.backup.s3 import KmsKeyWrapper
from chalicelib.errors import IntegrityError, KeyUnavailable
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryRepository, image

PRIVATE, OTHER = b'1' * 32, b'2' * 32


@pytest.fixture
def kms(aws: None) -> Any:
    import boto3

    return boto3.client('kms')


@pytest.fixture
def kms_wrapper(kms: Any) -> KmsKeyWrapper:
    return KmsKeyWrapper(kms, kms.create_key()['KeyMetadata']['KeyId'])


def test_a_recovery_key_opens_what_its_public_half_wrapped() -> None:
    public = RecoveryKeyWrapper(public_half(PRIVATE))
    plaintext, wrapped = public.generate('a')
    assert len(plaintext) == 32
    assert RecoveryKeyWrapper.from_private(PRIVATE).unwrap('a', wrapped) == plaintext
    with pytest.raises(KeyUnavailable, match='only the public half'):
        public.unwrap('a', wrapped)


def test_every_data_key_is_new_and_wrapped_anew() -> None:
    wrapper = RecoveryKeyWrapper.from_private(PRIVATE)
    (first, wrapped), (second, _) = wrapper.generate('a'), wrapper.generate('a')
    assert first != second
    assert wrapper.wrap('a', first) != wrapped


def test_a_wrapped_key_opens_for_its_lineage_and_key_only() -> None:
    wrapper = RecoveryKeyWrapper.from_private(PRIVATE)
    _, wrapped = wrapper.generate('a')
    for opener, lineage in ((wrapper, 'b'), (RecoveryKeyWrapper.from_private(OTHER), 'a')):
        with pytest.raises(KeyUnavailable, match=f'lineage {lineage} cannot be unwrapped'):
            opener.unwrap(lineage, wrapped)


@pytest.mark.parametrize('blob', ['', 'AAAA', '!!!', 'A' * 43 + '=', 'A' * 120, None, 5])
def test_what_is_no_wrapped_key_does_not_open(blob: Any) -> None:
    with pytest.raises(KeyUnavailable):
        RecoveryKeyWrapper.from_private(PRIVATE).unwrap('a', {RECOVERY: blob})


def test_a_key_wrapped_otherwise_is_told() -> None:
    with pytest.raises(KeyUnavailable, match='wrapped by kms, not by recovery'):
        RecoveryKeyWrapper.from_private(PRIVATE).unwrap('a', {KMS: 'AAAA'})


def test_kms_wraps_for_one_lineage(kms_wrapper: KmsKeyWrapper) -> None:
    plaintext, wrapped = kms_wrapper.generate('a')
    assert len(plaintext) == 32
    assert kms_wrapper.unwrap('a', wrapped) == plaintext
    with pytest.raises(KeyUnavailable, match='lineage b'):
        kms_wrapper.unwrap('b', wrapped)


class Kms:
    """Encrypts by remembering. No part of the service encrypts a data key: only who copies a backup by hand does."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[bytes, dict[str, str]]] = {}

    def encrypt(self, **asked: Any) -> dict[str, bytes]:
        blob = f'{asked["KeyId"]} {len(self.known)}'.encode()
        self.known[blob] = asked['Plaintext'], asked['EncryptionContext']
        return {'CiphertextBlob': blob}

    def decrypt(self, **asked: Any) -> dict[str, bytes]:
        plaintext, context = self.known[asked['CiphertextBlob']]
        assert context == asked['EncryptionContext']
        return {'Plaintext': plaintext}


def test_a_key_that_is_there_is_wrapped_anew() -> None:
    """By KMS, and to a recovery key as well: either opens it."""
    kms = KmsKeyWrapper(Kms(), 'alias/there')
    wrapped = RecoverableKeyWrapper(kms, RecoveryKeyWrapper(public_half(PRIVATE))).wrap('a', b'd' * 32)
    for wrapper in (kms, RecoveryKeyWrapper.from_private(PRIVATE)):
        assert wrapper.unwrap('a', wrapped) == b'd' * 32


def test_kms_failures_are_translated(kms: Any, kms_wrapper: KmsKeyWrapper) -> None:
    with pytest.raises(KeyUnavailable, match='NotFoundException'):
        KmsKeyWrapper(kms, 'alias/none').generate('a')
    with pytest.raises(KeyUnavailable):
        kms_wrapper.unwrap('a', {KMS: 'AAAA'})


def test_the_day_kms_is_lost(memory: MemoryRepository, kms_wrapper: KmsKeyWrapper) -> None:
    """The service wraps with KMS and to a public key; who holds the private half restores without KMS."""
    both = RecoverableKeyWrapper(kms_wrapper, RecoveryKeyWrapper(public_half(PRIVATE)))
    data = image(flows.GEOMETRY.shard_size, 1)
    engine.begin_backup(memory, both, lineage=flows.LINEAGE, backup_id='one', size=len(data), geometry=flows.GEOMETRY)
    backup = engine.open_backup(memory, both, flows.LINEAGE, 'one')
    flows.copy_shard(memory, flows.MemoryDevice(data), backup, 0)
    engine.commit_backup(memory, both, backup, created_at='', metadata={}, limits=flows.LIMITS)
    for wrapper in (kms_wrapper, RecoveryKeyWrapper.from_private(PRIVATE)):
        manifest = engine.load_backup(memory, wrapper, backup_key(flows.LINEAGE, 'one'))
        device = flows.MemoryDevice(bytes(len(data)))
        engine.restore_shard(device, memory, manifest, 0, target_is_zeroed=True, limits=flows.LIMITS)
        assert device.data == data


def test_a_recovery_key_file_is_its_owner_s(tmp_path: Path) -> None:
    path = tmp_path / 'recovery.key'
    public = write_recovery_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _, wrapped = RecoveryKeyWrapper(public).generate('a')
    assert len(read_recovery_key(path).unwrap('a', wrapped)) == 32
    with pytest.raises(FileExistsError):
        write_recovery_key(path)


@pytest.mark.parametrize('content', ['', 'secret words', 'ab' * 31, None])
def test_what_is_no_key_file_is_told_without_its_content(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / 'recovery.key'
    if content is not None:
        path.write_text(content)
    with pytest.raises(KeyUnavailable, match=r'recovery\.key is not a recovery key') as caught:
        read_recovery_key(path)
    assert 'secret' not in str(caught.value)


def test_identities_match_within_a_chain_and_nowhere_else() -> None:
    block = b'content' * 100
    assert DataKey(PRIVATE, 'a').identity(block) == DataKey(PRIVATE, 'a').identity(memoryview(block))
    assert DataKey(PRIVATE, 'a').identity(block) != DataKey(OTHER, 'a').identity(block)


def test_a_sealed_table_opens_under_its_own_key_only() -> None:
    key = DataKey(PRIVATE, 'a')
    sealed = key.seal_table('shards/a/00000/one', b'entries')
    assert key.open_table('shards/a/00000/one', sealed) == b'entries'
    for opener, name in ((key, 'shards/a/00000/two'), (DataKey(PRIVATE, 'b'), 'shards/a/00000/one')):
        with pytest.raises(IntegrityError):
            opener.open_table(name, sealed)


def test_a_key_is_not_in_what_is_printed() -> None:
    memory = MemoryRepository()
    backup = flows.begin(memory, 512, 'one')
    assert 'DataKey' not in repr(backup)
    assert backup.key is not None


def test_no_content_is_stored_in_clear(memory: MemoryRepository) -> None:
    marker = b'a secret that must not be found'
    flows.back_up(memory, marker.ljust(4096, b'.') + image(60 * 1024, 1), 'one')
    assert not [key for key, data in memory.objects.items() if marker in data]
