"""Encryption of volume types. The id in a path is ignored, as in Cinder: a type has one encryption."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.schemas import volume_types as schemas
from chalicelib.api.volume_types import volume_types
from chalicelib.operations import type_encryption as operations

POLICY = 'volume_extension:volume_type_encryption'


def _shown(request: Request, type_id: str) -> dict[str, Any]:
    """Return all facts; nothing for a type without encryption."""
    found = operations.get(request.context, type_id)
    return {**found, 'volume_type_id': type_id, 'deleted': False, 'deleted_at': None} if found else {}


@volume_types.get('/{id}/encryption', policy=f'{POLICY}:get')
def index(request: Request, id: str) -> dict[str, Any]:
    return _shown(request, id)


@volume_types.get('/{id}/encryption/{key}', policy=f'{POLICY}:get')
def show(request: Request, id: str, key: str) -> dict[str, Any]:
    """One value by its name."""
    shown = _shown(request, id)
    if key not in shown:
        raise errors.VolumeTypeEncryptionNotFound(type_id=id)
    return {key: shown[key]}


@volume_types.post('/{id}/encryption', policy=f'{POLICY}:create', schema=schemas.CREATE_ENCRYPTION)
def create(request: Request, id: str) -> dict[str, Any]:
    """Return the body with the ids."""
    sent = request.body['encryption']
    made = operations.create(request.context, id, _facts(sent))
    return {'encryption': {**sent, 'volume_type_id': id, 'encryption_id': made['encryption_id']}}


@volume_types.put('/{id}/encryption/{key}', policy=f'{POLICY}:update', schema=schemas.UPDATE_ENCRYPTION)
def update(request: Request, id: str, key: str) -> dict[str, Any]:
    operations.update(request.context, id, _facts(request.body['encryption']))
    return dict(request.body)


@volume_types.delete('/{id}/encryption/{key}', policy=f'{POLICY}:delete', status=202)
def delete(request: Request, id: str, key: str) -> None:
    operations.delete(request.context, id)


def _facts(sent: dict[str, Any]) -> dict[str, Any]:
    """Return the sent members, with the key size as a number of bits."""
    size = sent.get('key_size')
    return {**sent, 'key_size': int(size)} if isinstance(size, str) else sent
