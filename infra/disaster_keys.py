"""Keys of encrypted volumes in another region: from beside the copies of backups into the new stack's key manager.

A copy carries the key of its volume, sealed like its data (chalicelib/backup/volume_keys.py). The built-in key manager
of the lost region sealed the same key by a KMS key that may be lost, so its table is not restored.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.backup import engine
from chalicelib.backup.s3 import KmsKeyWrapper, S3Repository
from chalicelib.errors import IntegrityError, KeyUnavailable, RepositoryError
from infra.exports import Item
from infra.stage import Refused

#: An SDK client: (service, region).
Client = Callable[[str, str], Any]

#: The table of the built-in key manager.
TABLE = 'secrets'


class KeyManager(NamedTuple):
    """The new stack's: its table of keys, and the KMS key of ``region`` that seals them."""

    stack: str
    region: str
    kms_key: str
    client: Client

    def take(self, backup: Item, location: Mapping[str, str]) -> int:
        """Write the key that a copy carries, under its own id; return 1, or 0 when it is there already.

        Raises Refused: the key cannot be used or written now. Raises IntegrityError: the copy carries another key, or
        a damaged one.
        """
        found = self._stored(backup, location)
        kms, table = self.client('kms', self.region), self.client('dynamodb', self.region)
        try:
            existing = table.get_item(TableName=f'{self.stack}-{TABLE}', Key=_key(found), ConsistentRead=True)
            if 'Item' not in existing:
                return self._put(found, backup)
            blob = b64decode(existing['Item']['sealed']['S'])
            known = kms.decrypt(CiphertextBlob=blob, EncryptionContext=_context(found))['Plaintext']
        except (ClientError, BotoCoreError) as error:
            raise Refused(f'the key {found.id} cannot be written ({error}): repeat the command, it continues') from None
        if not hmac.compare_digest(known, found.payload.hex().encode()):
            raise Refused(f'{self.stack}-{TABLE} has another key {found.id}: is the stack in use?')
        return 0

    def _stored(self, backup: Item, location: Mapping[str, str]) -> engine.VolumeKey:
        region, id = location['region'] or self.region, backup['encryption_key_id']['S']
        repository = S3Repository(self.client('s3', region), location['bucket'], location['prefix'])
        wrapper = KmsKeyWrapper(self.client('kms', region), '')
        manifest_key, root_hash = backup['manifest_key']['S'], backup['root_hash']['S']
        try:
            manifest = engine.load_backup(repository, wrapper, manifest_key, root_hash=root_hash)
            found = engine.load_volume_key(repository, manifest)
        except (KeyUnavailable, RepositoryError) as error:
            raise Refused(
                f'the key {id} beside the copy in {location["bucket"]} cannot be read: {error.message} Allow '
                's3:GetObject there and kms:Decrypt with the key of the copies, and repeat the command'
            ) from None
        if (found.project_id, found.id) != (backup['project_id']['S'], id):
            raise IntegrityError(key=manifest_key, reason=f'the copy carries the key {found.id}, not {id}')
        return found

    def _put(self, found: engine.VolumeKey, backup: Item) -> int:
        kms, table = self.client('kms', self.region), self.client('dynamodb', self.region)
        plain = found.payload.hex().encode()
        sealed = kms.encrypt(KeyId=self.kms_key, Plaintext=plain, EncryptionContext=_context(found))
        item = {
            **_key(found),
            'created_at': backup['created_at'],
            'schema_version': {'N': '1'},
            'revision': {'N': '0'},
            'user_id': {'S': found.user_id},
            'algorithm': {'S': found.algorithm},
            'bit_length': {'N': str(found.bit_length)},
            'sealed': {'S': b64encode(sealed['CiphertextBlob']).decode()},
        }
        table.put_item(TableName=f'{self.stack}-{TABLE}', Item=item, ConditionExpression='attribute_not_exists(id)')
        return 1


def _key(found: engine.VolumeKey) -> Item:
    return {'project_id': {'S': found.project_id}, 'id': {'S': found.id}}


def _context(found: engine.VolumeKey) -> dict[str, str]:
    """KMS's encryption context of a key, as chalicelib/operations/keys.py seals it."""
    return {'purpose': f'key/{found.project_id}/{found.id}'}
