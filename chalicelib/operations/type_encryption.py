"""How the volumes of a type are encrypted: the provider and cipher that the attaching host receives.

A type in use keeps what it has, since its volumes were written with it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Volume, VolumeType, base, claims
from chalicelib.operations import common, volume_types

#: The fields that an administrator sets, besides the ids and times.
FACTS = ('provider', 'cipher', 'key_size', 'control_location')


def of(volume: Volume) -> dict[str, Any] | None:
    """Return the encryption of a volume's type, None for none; raises VolumeTypeNotFound for a type that is gone."""
    volume_type = volume_types.of(volume)
    return volume_type.encryption if volume_type else None


def get(context: Context, type_id: str) -> dict[str, Any] | None:
    """Return a type's encryption, None for none; raises VolumeTypeNotFound."""
    found: dict[str, Any] | None = volume_types.get(context, type_id).encryption
    return found


def create(context: Context, type_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Have the type's volumes encrypted from now on; raises VolumeTypeEncryptionExists or VolumeTypeInUse."""

    if claims.is_begun():
        return get(context, type_id) or {}

    def made(volume_type: VolumeType) -> dict[str, Any]:
        if volume_type.encryption is not None:
            raise errors.VolumeTypeEncryptionExists(type_id=type_id)
        known = {name: facts.get(name) for name in FACTS}
        return {'encryption_id': str(uuid.uuid4()), **known, 'created_at': base.now(), 'updated_at': None}

    return _change(context, type_id, 'create', made) or {}


def update(context: Context, type_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change some of the facts; raises VolumeTypeEncryptionNotFound or VolumeTypeInUse."""
    wanted = {name: value for name, value in changes.items() if name in FACTS}

    def changed(volume_type: VolumeType) -> dict[str, Any]:
        return {**_existing(volume_type), **wanted, 'updated_at': base.now()}

    return _change(context, type_id, 'update', changed) or {}


def delete(context: Context, type_id: str) -> None:
    """Leave the type's volumes in clear from now on; raises VolumeTypeEncryptionNotFound or VolumeTypeInUse."""

    def removed(volume_type: VolumeType) -> None:
        _existing(volume_type)

    _change(context, type_id, 'delete', removed)


def _existing(volume_type: VolumeType) -> dict[str, Any]:
    if volume_type.encryption is None:
        raise errors.VolumeTypeEncryptionNotFound(type_id=volume_type.id)
    return dict(volume_type.encryption)


def _change(
    context: Context, type_id: str, verb: str, change: Callable[[VolumeType], dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Change the encryption of a type that is not in use to what ``change`` returns; return that."""
    found: list[dict[str, Any] | None] = []

    def actions(volume_type: VolumeType) -> list[Any]:
        found[:] = [change(volume_type)]
        return [common.set_or_remove(VolumeType.encryption, found[0])]

    volume_types.change_unused(context, type_id, f'Cannot {verb} encryption specs. Volume type in use.', actions)
    return found[0]
