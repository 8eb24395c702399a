"""Metadata of snapshots."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.schemas import snapshots as schemas
from chalicelib.api.snapshots import snapshots
from chalicelib.api.volume_metadata import MISMATCH
from chalicelib.operations import snapshots as operations

GET, UPDATE, DELETE = (f'volume:{verb}_snapshot_metadata' for verb in ('get', 'update', 'delete'))


@snapshots.get('/{id}/metadata', policy=GET)
def index(request: Request, id: str) -> dict[str, Any]:
    return {'metadata': operations.get(request.context, id).metadata}


@snapshots.get('/{id}/metadata/{key}', policy=GET)
def show(request: Request, id: str, key: str) -> dict[str, Any]:
    metadata = operations.get(request.context, id).metadata
    if key not in metadata:
        raise errors.SnapshotMetadataNotFound(id=id, key=key)
    return {'meta': {key: metadata[key]}}


@snapshots.post('/{id}/metadata', policy=UPDATE, schema=schemas.METADATA)
def create(request: Request, id: str) -> dict[str, Any]:
    return {'metadata': operations.set_metadata(request.context, id, request.body['metadata'], False)}


@snapshots.put('/{id}/metadata', policy=UPDATE, schema=schemas.METADATA)
def update_all(request: Request, id: str) -> dict[str, Any]:
    return {'metadata': operations.set_metadata(request.context, id, request.body['metadata'], True)}


@snapshots.put('/{id}/metadata/{key}', policy=UPDATE, schema=schemas.META)
def update(request: Request, id: str, key: str) -> dict[str, Any]:
    meta = request.body['meta']
    if key not in meta:
        raise errors.Invalid(MISMATCH)
    operations.set_metadata(request.context, id, meta, False)
    return {'meta': meta}


@snapshots.delete('/{id}/metadata/{key}', policy=DELETE)
def delete(request: Request, id: str, key: str) -> None:
    operations.delete_metadata(request.context, id, key)
