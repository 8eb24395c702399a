"""Manage and unmanage existing objects of a backend: the data stays where it is."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from typing import Any

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Service, Snapshot, Volume, base, claims
from chalicelib.operations import common, moves, quotas, reservations, services, snapshots, volume_types, volumes
from chalicelib.rules import extra_specs, states, workflows

#: A reference as the backend understands it: {'source-name': ...} or {'source-id': ...}.
Reference = Mapping[str, str]

#: Keys of a list of manageable objects that it may be sorted by.
SORT_KEYS = ('reference', 'size')


@claims.made_once('Volume')
def manage_volume(
    context: Context,
    *,
    host: str | None,
    cluster: str | None,
    ref: Reference,
    name: str | None,
    description: str | None,
    volume_type: str | None,
    metadata: Mapping[str, str],
    availability_zone: str | None,
    bootable: bool,
) -> Volume:
    """Accept an existing volume; its size, and so its quota, is known when the backend has reported it.

    Raises Invalid for a host that cannot do it and for an encrypted type.
    """
    service = _service(host, cluster)
    volume = Volume(
        context.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        name=name,
        description=description,
        size=0,
        availability_zone=availability_zone or service.availability_zone,
        metadata=dict(metadata),
        bootable=bootable,
        replication_status=states.DISABLED,
        host=host,
        **_begun(context, 'manage', workflows.VOLUME['manage'], ref),
    )
    volume_types.again(lambda: _accept(context, volume, volume_type))
    common.send(context, 'manage', volume)
    return volume


def _accept(context: Context, volume: Volume, volume_type: str | None) -> None:
    """Give the volume its type, and record it; raises TypeChanged when the type has changed since it was read."""
    kind = volume_types.find(context, volume_type) if volume_type else volume_types.default(context)
    if kind.encryption:
        raise errors.InvalidVolume(reason='Managing a volume of an encrypted type is not supported.')
    volume.volume_type_id, volume.multiattach = kind.id, extra_specs.is_multiattach(kind.extra_specs)

    def add_writes_to(transaction: base.Transaction) -> None:
        volume_types.add_check_to(transaction, kind)
        _add_record_to(volume, transaction)

    quotas.commit(context.project_id, {'volumes': 1}, add_writes_to, type_id=kind.id)


def _begun(context: Context, action: str, row: workflows.Workflow, ref: Reference) -> dict[str, Any]:
    """Attributes of a new record whose work is under way."""
    return {
        'status': row.running,
        'owner': context.request_id,
        'in_flight': '1',
        'deadline': base.first_deadline(row),
        'operation': common.operation(row, ref=dict(ref)),
    }


def _add_record_to(record: Volume | Snapshot, transaction: base.Transaction) -> None:
    transaction.put(record, type(record).id.does_not_exist())


def _service(host: str | None, cluster: str | None = None) -> Service:
    """The volume service of a host, which must be enabled and up. Raises Invalid."""
    if (host is None) == (cluster is None):
        raise errors.InvalidInput(reason='One and only one of cluster and host must be set.')
    wanted = str(host or cluster)
    try:
        service = Service.find(base.GLOBAL, f'{services.VOLUME_BINARY}:{wanted.partition("#")[0]}')
    except errors.NotFound:
        raise errors.Invalid(f"Host '{wanted}' not found") from None
    if not moves.is_served(wanted):
        raise errors.Invalid('Service is unavailable at this time.')
    return service


def unmanage_volume(context: Context, id: str) -> None:
    """Unmanage a volume: delete its record, release its quota, keep its data; so, too, after a failed ``manage``."""
    volume = volumes.get(context, id)
    if volume.encryption_key_id is not None:
        raise errors.Invalid('Unmanaging encrypted volumes is not supported: its key would be lost.')
    volumes.remove(context, volume, 'unmanage')


@claims.made_once('Snapshot')
def manage_snapshot(
    context: Context,
    volume_id: str,
    *,
    ref: Reference,
    name: str | None,
    description: str | None,
    metadata: Mapping[str, str],
) -> Snapshot:
    """Accept an existing snapshot of a volume; quota is taken for the volume's size, and corrected by its own."""
    volume = volumes.get(context, volume_id)
    _service(volume.host or '-')
    if volume.encryption_key_id is not None:
        raise errors.Invalid('Managing a snapshot of an encrypted volume is not supported.')
    snapshot = snapshots.new_record(context, volume)
    snapshot.name, snapshot.description, snapshot.metadata = name, description, dict(metadata)
    for attribute, value in _begun(context, 'manage', workflows.SNAPSHOT['manage'], ref).items():
        setattr(snapshot, attribute, value)
    add_writes_to = functools.partial(_add_snapshot_to, snapshot, volume)
    deltas = {'snapshots': 1, 'gigabytes': int(volume.size)}
    quotas.commit(volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id)
    common.send(context, 'manage', snapshot)
    return snapshot


def _add_snapshot_to(snapshot: Snapshot, volume: Volume, transaction: base.Transaction) -> None:
    _add_record_to(snapshot, transaction)
    actions = [Volume.snapshot_count.add(1), *base.touched(Volume)]
    free = volumes.is_not_migrating() & ~Volume.status.is_in(*states.NOT_ADOPTING) & reservations.has_type(volume)
    refused = errors.InvalidVolume(reason=f'Volume {volume.id} is being made, removed, retyped or migrated.')
    transaction.update(volume, actions, free, lambda: refused)


def unmanage_snapshot(context: Context, id: str) -> None:
    """Unmanage a snapshot: delete its record, release its quota, keep its data."""
    snapshot = snapshots.get(context, id)
    if snapshot.encryption_key_id is not None:
        raise errors.Invalid('Unmanaging snapshots of encrypted volumes is not supported: their key would be lost.')
    snapshots.remove(context, snapshot, 'unmanage')


def manageable(
    context: Context, resource: str, *, host: str | None, cluster: str | None, query: common.ListQuery
) -> list[dict[str, Any]]:
    """Return one page of what a backend (or one pool) has: {reference, size, safe_to_manage, reason_not_safe,
    cinder_id, extra_info, and of snapshots source_reference}.

    ``resource``: volume or snapshot. The call queries the backend synchronously; the marker is a reference's value.
    """
    service = _service(host, cluster)
    if not moves.is_served(service.host):
        raise errors.Invalid('Service is unavailable at this time.')
    payload = {'host': host or cluster, 'resource': resource}
    try:
        found = aws.invoke(settings().volume_worker, 'get_manageable', payload)
    except errors.NotSupported as error:
        raise errors.Invalid(error.message) from None
    return _page(list(found), query)


def _page(found: list[dict[str, Any]], query: common.ListQuery) -> list[dict[str, Any]]:
    for key, direction in reversed(query.sort):
        found.sort(key=lambda one: _value(one, key), reverse=direction == 'desc')
    start = query.offset
    if query.marker is not None:
        references = [_value(one, 'reference') for one in found]
        if query.marker not in references:
            raise errors.Invalid(f'marker not found: {query.marker}')
        start += references.index(query.marker) + 1
    return found[start : start + query.limit]


def _value(found: dict[str, Any], key: str) -> Any:
    """What is compared: a reference by its one value."""
    return next(iter(found['reference'].values())) if key == 'reference' else found[key]
