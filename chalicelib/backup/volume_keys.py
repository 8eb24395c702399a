"""The key of an encrypted volume, stored beside its backup: a restore elsewhere writes bytes that only this key opens.

The object ``volume-keys/<lineage>/<backup>`` is an authenticated document like the manifest. The key in it is sealed
with a key derived from the chain's data key, so it opens wherever the backup opens: by the KMS key of the repository,
or by the recovery key. It is bound to its object, its project and its id.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses

from chalicelib.backup import documents, layout
from chalicelib.backup.lifecycle import delete_if_tombstoned
from chalicelib.backup.manifests import Manifest, common
from chalicelib.backup.repository import Repository
from chalicelib.errors import IntegrityError, ObjectMissing

#: Field of the document -> the type of its value.
_FIELDS = {'id': str, 'project_id': str, 'user_id': str, 'algorithm': str, 'bit_length': int, 'sealed': str}


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeKey:
    """A key as a key manager has it: ``project_id`` owns it, ``user_id`` made it, ``payload`` is the key itself."""

    id: str
    project_id: str
    user_id: str
    algorithm: str
    bit_length: int
    payload: bytes = dataclasses.field(repr=False)


def store_volume_key(repository: Repository, manifest: Manifest, key: VolumeKey) -> None:
    """Store a volume's key beside a finished backup. A repeated call changes nothing; a damaged object is replaced.

    Raises BackupCanceled when the backup is deleted.
    """
    with contextlib.suppress(ObjectMissing, IntegrityError):
        if load_volume_key(repository, manifest) == key:
            return
    object_key = _object_key(manifest)
    repository.put(object_key, documents.encode(manifest.key, object_key, _body(manifest, key)))
    delete_if_tombstoned(repository, manifest)


def _body(manifest: Manifest, key: VolumeKey) -> documents.Body:
    facts = {name: getattr(key, name) for name in _FIELDS if name != 'sealed'}
    sealed = manifest.key.seal_volume_key(_object_key(manifest), _owner(key.project_id, key.id), key.payload)
    return common(manifest) | {'volume_key': {**facts, 'sealed': base64.b64encode(sealed).decode()}}


def load_volume_key(repository: Repository, manifest: Manifest) -> VolumeKey:
    """Return the volume's key. Raises ObjectMissing when none is stored; IntegrityError when it does not open."""
    object_key = _object_key(manifest)
    body = documents.verify(object_key, repository.get(object_key).data, manifest.key)
    facts = body.get('volume_key')
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), kind) for name, kind in _FIELDS.items()):
        raise IntegrityError(key=object_key, reason='it does not describe a key')
    described = {name: facts[name] for name in _FIELDS if name != 'sealed'}
    try:
        sealed = base64.b64decode(facts['sealed'], validate=True)
    except binascii.Error as error:
        raise IntegrityError(key=object_key, reason='the key of the volume is not base64') from error
    owner = _owner(facts['project_id'], facts['id'])
    return VolumeKey(**described, payload=manifest.key.open_volume_key(object_key, owner, sealed))


def copy_volume_key(source: Repository, target: Repository, manifest: Manifest, copied: Manifest) -> None:
    """Store the key of ``manifest`` beside its copy, unless the source has none. Raises IntegrityError."""
    with contextlib.suppress(ObjectMissing):
        store_volume_key(target, copied, load_volume_key(source, manifest))


def _object_key(manifest: Manifest) -> str:
    return layout.volume_key_key(manifest.lineage, manifest.backup_id)


def _owner(project_id: str, id: str) -> str:
    return f'{project_id}/{id}'
