"""Metadata of snapshots."""

from __future__ import annotations

import functools

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.schemas import snapshots as schemas
from chalicelib.api.snapshots import snapshots
from chalicelib.api.standard_routes import MapOperations, add_metadata
from chalicelib.operations import snapshots as operations


def _metadata(request: Request, id: str) -> dict[str, str]:
    return dict(operations.get(request.context, id).metadata)


add_metadata(
    snapshots,
    MapOperations(_metadata, operations.set_metadata, operations.delete_metadata, errors.SnapshotMetadataNotFound),
    functools.partial(operations.set_metadata, replace=True),
    policies={
        'create': 'volume:update_snapshot_metadata',
        **{verb: f'volume:{verb}_snapshot_metadata' for verb in ('get', 'update', 'delete')},
    },
    schemas=(schemas.METADATA, schemas.META),
)
