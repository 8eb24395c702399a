"""Keys of encrypted volumes beside their backups, and back in a key manager: what an encrypted backup needs elsewhere.

Only keys of the built-in key manager: KMS of one region seals them, and they would be lost with it. Barbican gives a
key to a token of its project only, and is in no region.
"""

from __future__ import annotations

import hmac
import logging
from typing import Any

from chalicelib import errors
from chalicelib.backup import engine
from chalicelib.models import Backup, Secret
from chalicelib.operations import cloud, keys
from chalicelib.tasks import backup_data

logger = logging.getLogger(__name__)

#: What a scrub finds of the key: it opens and is the key manager's; or it is not stored beside the backup.
OPENS, MISSING = 'opens', 'missing'


def store(backup: Backup, manifest: engine.Manifest) -> list[Any]:
    """Store the key beside the backup's data; return the changes of its record."""
    secret = _secret_of(backup.project_id, backup.encryption_key_id)
    if secret is None:
        return []
    key = engine.VolumeKey(
        secret.id,
        secret.project_id,
        secret.user_id,
        secret.algorithm,
        int(secret.bit_length),
        keys.payload(secret),
    )
    engine.store_volume_key(backup_data.repository(backup), manifest, key)
    return [Backup.key_stored.set(True)]


def _secret_of(project_id: str, id: str | None) -> Secret | None:
    """Return the key manager's record; None for data that is not encrypted, with Barbican, and without the key."""
    if id is None or cloud.barbican() is not None:
        return None
    found = Secret.find_or_none(project_id, id)
    if found is None:
        logger.warning('the key manager has no key %s of project %s', id, project_id)
    return found


def taken_over(backup: Backup, id: str | None, manifest: engine.Manifest) -> tuple[keys.NewKey | None, list[Any]]:
    """Return the key ``id`` that the import of a backup is to write, if any, and the changes of the backup's record.

    A key of another project is not taken over: only its project may read it, not the importing administrator. Raises
    InvalidBackup when the key manager has another key under this id.
    """
    if id is None or cloud.barbican() is not None:
        return None, []
    try:
        stored = engine.load_volume_key(backup_data.repository(backup), manifest)
    except errors.ObjectMissing:
        return None, []
    if (stored.project_id, stored.id) != (backup.project_id, id):
        return None, []
    known, changes = Secret.find_or_none(backup.project_id, id), [Backup.key_stored.set(True)]
    if known is not None:
        if not hmac.compare_digest(keys.payload(known), stored.payload):
            raise errors.InvalidBackup(reason=f'The key manager has another key {id} than the backup.')
        return None, changes
    key = keys.restored(
        stored.project_id, stored.id, stored.user_id, stored.payload, stored.algorithm, stored.bit_length
    )
    return key, [*changes, Backup.key_imported.set(True)]


def check(backup: Backup, manifest: engine.Manifest) -> tuple[str | None, list[str]]:
    """Return (what a scrub finds of the key, messages of damage); (None, []) where no key is stored by this service."""
    if backup.encryption_key_id is None or cloud.barbican() is not None:
        return None, []
    try:
        stored = engine.load_volume_key(backup_data.repository(backup), manifest)
    except errors.ObjectMissing as error:
        return MISSING, [str(error.message)] if backup.key_stored else []
    except errors.IntegrityError as error:
        return None, [str(error.message)]
    if backup.location and not backup.copied_from and not backup.key_imported:
        return OPENS, []  # another record's key, or another project's
    known = Secret.find_or_none(backup.project_id, backup.encryption_key_id)
    if known is None or stored.id != known.id or not hmac.compare_digest(keys.payload(known), stored.payload):
        return None, [f"the key beside the backup is not the key manager's key {backup.encryption_key_id}"]
    return OPENS, []
