"""Capabilities: the last report of a backend."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import services

capabilities = Resource('capabilities', not_found=errors.HostNotFound)

#: Keys of a report that are shown; the drivers have no other properties for extra specs.
SHOWN = (
    'vendor_name', 'volume_backend_name', 'pool_name', 'driver_version', 'storage_protocol', 'display_name',
    'description', 'visibility',
)  # fmt: skip


@capabilities.get('/{id}', policy='volume_extension:capabilities')
def show(request: Request, id: str) -> dict[str, Any]:
    report = services.capabilities(request.context, id)
    return {
        'namespace': f'OS::Storage::Capabilities::{id}',
        **{name: report.get(name) for name in SHOWN},
        'replication_targets': report.get('replication_targets', []),
        'properties': report.get('properties', {}),
    }
