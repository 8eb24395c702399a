"""How the volumes of a type are encrypted: the provider and cipher that the attaching host is told.

A type in use keeps what it has, since its volumes were written with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import VolumeType, base
from chalicelib.operations import volume_types

#: What an administrator says of it, besides the ids and times.
FACTS = ('provider', 'cipher', 'key_size', 'control_location')


def of(type_id: str | None) -> dict[str, Any] | None:
    """Return the encryption of a type whoever asks; None for a type without."""
    volume_type = volume_types.by_id(type_id)
    return volume_type.encryption if volume_type else None


def get(context: Context, type_id: str) -> dict[str, Any] | None:
    """Return a type's encryption, None for none; raises VolumeTypeNotFound."""
    found: dict[str, Any] | None = volume_types.get(context, type_id).encryption
    return found


def create(context: Context, type_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Have the type's volumes encrypted from now on; raises VolumeTypeEncryptionExists or VolumeTypeInUse."""
    volume_type = _changeable(context, type_id, 'create')
    if volume_type.encryption is not None:
        raise errors.VolumeTypeEncryptionExists(type_id=type_id)
    known = {name: facts.get(name) for name in FACTS}
    made = {'encryption_id': str(uuid.uuid4()), **known, 'created_at': base.now(), 'updated_at': None}
    _set(volume_type, made)
    return made


def update(context: Context, type_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change some of the facts; raises VolumeTypeEncryptionNotFound or VolumeTypeInUse."""
    volume_type = _changeable(context, type_id, 'update')
    wanted = {name: value for name, value in changes.items() if name in FACTS}
    changed = {**_existing(volume_type), **wanted, 'updated_at': base.now()}
    _set(volume_type, changed)
    return changed


def delete(context: Context, type_id: str) -> None:
    """Leave the type's volumes in clear from now on; raises VolumeTypeEncryptionNotFound or VolumeTypeInUse."""
    volume_type = _changeable(context, type_id, 'delete')
    _existing(volume_type)
    _set(volume_type, None)


def _existing(volume_type: VolumeType) -> dict[str, Any]:
    if volume_type.encryption is None:
        raise errors.VolumeTypeEncryptionNotFound(type_id=volume_type.id)
    return dict(volume_type.encryption)


def _changeable(context: Context, type_id: str, verb: str) -> VolumeType:
    volume_type = volume_types.get(context, type_id).reload()
    if volume_types.is_in_use(type_id):
        raise errors.VolumeTypeInUse(f'Cannot {verb} encryption specs. Volume type in use.')
    return volume_type


def _set(volume_type: VolumeType, encryption: dict[str, Any] | None) -> None:
    attribute = VolumeType.encryption
    action = attribute.remove() if encryption is None else attribute.set(encryption)
    volume_types.write(base.Transaction(), volume_type, [action])
