"""Metadata of volumes: the user's, the image's, and the encryption's."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.schemas import volumes as schemas
from chalicelib.api.standard_routes import MapOperations, add_metadata
from chalicelib.api.volumes import volumes
from chalicelib.models import Volume
from chalicelib.operations import type_encryption
from chalicelib.operations import volumes as operations
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import authorize

#: From this version on metadata has an Etag, and PUT respects If-Match.
ETAGS: Version = (3, 15)

IMAGE_METADATA = 'volume_extension:volume_image_metadata'
ENCRYPTION = 'volume_extension:volume_encryption_metadata'


def etag(metadata: Mapping[str, str]) -> str:
    """Return Cinder's Etag: the MD5 of the body in Python's notation."""
    return hashlib.md5(json.dumps({'metadata': metadata}).encode(), usedforsecurity=False).hexdigest()


def is_current(request: Request, id: str) -> bool:
    """Whether If-Match, if present, matches the current metadata."""
    sent = request.headers.get('if-match', '*').strip()
    if request.version < ETAGS or sent == '*':
        return True
    tags = {tag.strip().removeprefix('W/').strip('"') for tag in sent.split(',')}
    return etag(operations.get(request.context, id).metadata) in tags


def _metadata(request: Request, id: str) -> dict[str, str]:
    return dict(operations.get(request.context, id).metadata)


def _headers(request: Request, metadata: Mapping[str, str]) -> dict[str, str]:
    return {'Etag': etag(metadata)} if request.version >= ETAGS else {}


add_metadata(
    volumes,
    MapOperations(_metadata, operations.set_metadata, operations.delete_metadata, errors.VolumeMetadataNotFound),
    functools.partial(operations.set_metadata, replace=True),
    policies={verb: f'volume:{verb}_volume_metadata' for verb in ('get', 'create', 'update', 'delete')},
    schemas=(schemas.METADATA, schemas.META),
    headers=_headers,
    is_current=is_current,
)


@volumes.action(
    'os-set_image_metadata', policy=f'{IMAGE_METADATA}:set', schema=schemas.IMAGE_METADATA, status=200, hides=False
)
def set_image_metadata(request: Request, id: str) -> dict[str, Any]:
    authorize(request.context, 'volume:update_volume_metadata', find=lambda: operations.get(request.context, id))
    return {'metadata': operations.set_image_metadata(request.context, id, request.body['metadata'])}


@volumes.action(
    'os-unset_image_metadata',
    policy=f'{IMAGE_METADATA}:remove',
    schema=schemas.IMAGE_METADATA_KEY,
    status=200,
    hides=False,
)
def unset_image_metadata(request: Request, id: str) -> None:
    authorize(request.context, 'volume:delete_volume_metadata', find=lambda: operations.get(request.context, id))
    operations.unset_image_metadata(request.context, id, request.body['key'])


@volumes.action('os-show_image_metadata', policy='volume:get_volume_metadata', schema=p.ANYTHING, status=200)
def show_image_metadata(request: Request, id: str) -> dict[str, Any]:
    return {'metadata': operations.get(request.context, id).volume_image_metadata}


def _encryption(volume: Volume) -> dict[str, Any]:
    """Return the key's id and, for an encrypted volume, the facts of its type's encryption that Nova needs."""
    shown: dict[str, Any] = {'encryption_key_id': volume.encryption_key_id}
    facts = type_encryption.of(volume) if volume.encryption_key_id is not None else None
    return shown | {name: facts[name] for name in type_encryption.FACTS} if facts else shown


@volumes.get('/{id}/encryption', policy=ENCRYPTION, hides=False)
def encryption(request: Request, id: str) -> dict[str, Any]:
    return _encryption(operations.get(request.context, id))


@volumes.get('/{id}/encryption/{key}', policy=ENCRYPTION, hides=False)
def encryption_value(request: Request, id: str, key: str) -> Response:
    """Return one value as bare text, as Cinder does; an unknown key is a 404 (Cinder: 500)."""
    shown = _encryption(operations.get(request.context, id))
    if key not in shown:
        raise errors.NotFound(f'Volume {id} has no encryption metadata with key {key}.')
    return Response('' if shown[key] is None else str(shown[key]), {'Content-Type': 'text/html'}, 200)
