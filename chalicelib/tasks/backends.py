"""Backends and what their drivers may know of a record."""

from __future__ import annotations

import functools
from typing import Any, cast

from chalicelib import aws, telemetry
from chalicelib.config import settings
from chalicelib.drivers import registry
from chalicelib.drivers.base import Driver, SnapshotRef, VolumeRef
from chalicelib.models import Snapshot, Volume
from chalicelib.operations import qos_specs, volume_types


def configured() -> registry.Backends:
    """Return the backends of the document in force."""
    return _load(aws.parameter(settings().backends_parameter))


@functools.lru_cache(maxsize=1)
def _load(document: str) -> registry.Backends:
    return registry.load(document, aws.secret)


def having(host: str) -> registry.Backends:
    """Return the backends of a document that has the one of ``host``; what a remembered document lacks is read again.

    A host that the document in force lacks too is the caller's to look up: its methods raise HostNotFound.
    """
    found = configured()
    if host.partition('#')[0] not in found.names():
        aws.renew_documents()
        found = configured()
    return found


def driver(volume: Volume) -> Driver:
    """Return the driver of the backend that has the volume."""
    return on(str(volume.host))


def on(host: str) -> Driver:
    """Return the driver of ``host@backend#pool``."""
    found = having(host).driver(host)
    return cast(Driver, telemetry.Traced(found, 'driver')) if telemetry.is_sampled() else found


def volume_ref(volume: Volume, *, new: bool = False) -> VolumeRef:
    """Return what a driver may know of a volume, its type's specs as they are now.

    A volume that exists is read, attached and removed though its type is gone. ``new``: it is made from the specs;
    raises VolumeTypeNotFound for a type that is gone.
    """
    kind = volume_types.of(volume) if new else volume_types.read_if_there(volume.volume_type_id)
    return VolumeRef(
        id=volume.id,
        size=int(volume.size),
        project_id=volume.project_id,
        host=volume.host or '',
        name_id=volume.name_id or '',
        provider_id=volume.provider_id,
        provider_location=volume.provider_location,
        availability_zone=volume.availability_zone,
        multiattach=volume.multiattach,
        extra_specs=kind.extra_specs if kind else {},
        qos_specs=qos_specs.back_end(kind),
    )


def end_exports(volume: Volume) -> None:
    """End all exports of a volume that is about to be deleted: a host that stays logged in would block the deletion."""
    if volume.exports or volume.attachments:
        driver(volume).terminate_connection(volume_ref(volume), None)


def snapshot_ref(snapshot: Snapshot, volume: Volume) -> SnapshotRef:
    return SnapshotRef(snapshot.id, int(snapshot.volume_size), volume_ref(volume), snapshot.provider_id)


def front_end_qos(volume: Volume) -> dict[str, Any] | None:
    """Return the limits that the attaching host enforces; None where the volume's type names none for it."""
    kind = volume_types.read_if_there(volume.volume_type_id)
    return qos_specs.front_end(kind, int(volume.size)) if kind else None
