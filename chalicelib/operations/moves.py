"""Retype and migrate: another type, or another backend, for a volume that keeps its id.

A move that copies data makes a second record, the *target*: it holds the capacity on the new backend while the data is
copied to it, then both exchange their places in one transaction, and the target is removed with the old data. Targets
are in the global partition: projects never see them, administrators find them as Cinder shows them (migration_status
``target:<id>``). They consume no quota.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from typing import Any

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Service, Snapshot, Volume, VolumeType, base
from chalicelib.operations import common, exports, quotas, reservations, services, volume_quota, volume_types, volumes
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules import extra_specs, states, workflows
from chalicelib.rules.policies import authorize

RETYPE_REFUSED = (
    'Retype needs volume to be in available or in-use state, not be part of an active migration or a consistency '
    'group, requested type has to be different that the one from the volume, and for in-use volumes front-end qos '
    'specs cannot change.'
)

#: Actions whose work is a move.
ACTIONS = ('retype', 'migrate', 'migrate_attached', 'migrate_locked')

#: A transaction has at most 100 writes and checks: what ends a retype changes each snapshot of the volume.
MAX_SNAPSHOTS = 90

#: Fields of a type's encryption that determine how the data is written.
CIPHER = ('provider', 'cipher', 'key_size', 'control_location')


def retype(context: Context, id: str, new_type: str, migration_policy: str) -> None:
    """Accept a change of type: status, and the new type's quota of one volume, in one transaction.

    ``migration_policy``: never or on-demand. Raises VolumeTypeNotFoundByName, InvalidVolume, OverQuota.
    """

    def accept() -> tuple[Volume, VolumeType]:
        return volume_types.again(lambda: _accept_retype(context, id, new_type, migration_policy))

    try:
        volume, wanted = accept()
    except _HasExports as found:  # a worker is invoked once, not in each of the attempts
        exports.end_all(found.volume)
        volume, wanted = accept()
    common.send(context, 'retype', volume, wanted)


class _HasExports(errors.ServiceUnavailable):
    """A request was checked, and could be accepted if the volume had no exports."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(reason=f'volume {volume.id} is being connected just now; try again')
        self.volume = volume


def _accept_retype(context: Context, id: str, new_type: str, migration_policy: str) -> tuple[Volume, VolumeType]:
    with common.reading_with(context, Volume, id, *quotas.keys(context.project_id), along=('VolumeType',)):
        return _begun(context, volumes.get(context, id), new_type, migration_policy)


def _begun(context: Context, volume: Volume, new_type: str, migration_policy: str) -> tuple[Volume, VolumeType]:
    wanted = volume_types.find(context, new_type)
    _check_type(context, volume, _current_type(volume), wanted)
    if _is_detached(volume) and volume.exports:
        raise _HasExports(volume)
    snapshots = volumes.snapshots_of(volume) if volume.snapshot_count else []
    if len(snapshots) > MAX_SNAPSHOTS:
        raise errors.InvalidVolume(
            reason=f'{len(snapshots)} snapshots are more than one retype can take along: keep at most {MAX_SNAPSHOTS}.'
        )
    held = volume_quota.of_retype(volume, wanted.id, snapshots) if volume.consumes_quota else {}
    add_writes_to = functools.partial(_add_retype_to, context, volume, wanted, migration_policy, snapshots)
    quotas.commit(volume.project_id, held, add_writes_to, reserved=held)
    return volume, wanted


def _current_type(volume: Volume) -> VolumeType | None:
    """The type of a volume; None for none, and for a type that is gone, from which retype is the way out.

    Raises VolumeTypeNotFound when that type described how the volume is encrypted.
    """
    if volume.encryption_key_id is not None:
        return volume_types.of(volume)
    return volume_types.read_if_there(volume.volume_type_id)


def _is_detached(volume: Volume) -> bool:
    return volume.status == states.AVAILABLE and not volume.attachments


def _check_type(context: Context, volume: Volume, current: VolumeType | None, wanted: VolumeType) -> None:
    if wanted.id == volume.volume_type_id:
        raise errors.InvalidVolume(reason=RETYPE_REFUSED)
    extra_specs.check_size(wanted.extra_specs, wanted.name, int(volume.size))
    attached = volume.status != states.AVAILABLE
    if attached and current and current.qos_specs_id != wanted.qos_specs_id:
        raise errors.InvalidVolume(reason=RETYPE_REFUSED)
    multiattach = extra_specs.is_multiattach(wanted.extra_specs)
    if attached and multiattach != volume.multiattach:
        raise errors.InvalidInput(reason='Changing multiattach of a volume needs it to be available: detach it first.')
    if multiattach and not volume.multiattach:
        authorize(context, 'volume:multiattach', find=lambda: volume)
    if multiattach and wanted.encryption:
        raise errors.InvalidInput(reason='Retype requested both encryption and multi-attach, which is not supported.')
    if _cipher(current) != _cipher(wanted):
        raise errors.InvalidVolume(
            reason=f'The types encrypt differently, and the data of volume {volume.id} is moved as it is: make a new '
            'volume of the type, and copy the data inside a server.'
        )


def _cipher(kind: VolumeType | None) -> dict[str, Any] | None:
    encryption = kind.encryption if kind else None
    return {name: encryption.get(name) for name in CIPHER} if encryption else None


def _add_retype_to(
    context: Context,
    volume: Volume,
    wanted: VolumeType,
    policy: str,
    snapshots: list[Snapshot],
    transaction: base.Transaction,
) -> None:
    row = workflows.VOLUME['retype']
    operation = common.operation(row, type_id=wanted.id, migration_policy=policy)
    counted = volume_quota.snapshots_of_retype(snapshots, wanted.id)
    reserved = [Volume.reserved_type_id.set(wanted.id), Volume.reserved_snapshots.set(counted)]
    held = reserved if volume.consumes_quota else []
    actions = [*base.begin_actions(Volume, row, context.request_id, operation), *held]
    condition = base.is_allowed(Volume, row) & _is_free(volume) & reservations.has_type(volume)
    condition &= Volume.snapshot_count <= volume.snapshot_count
    refused = errors.InvalidVolume(reason=RETYPE_REFUSED)
    volume_types.add_check_to(transaction, wanted)
    transaction.update(volume, actions, condition, lambda: refused)


def _is_free(volume: Volume) -> Condition:
    """The condition that a volume may be moved, beside its status; its size and attachments are as they were read."""
    condition: Condition = (
        volumes.is_not_migrating()
        & Volume.group_id.does_not_exist()
        & Volume.in_flight.does_not_exist()
        & Volume.host.exists()
        & (Volume.size == volume.size)
        & (exports.are_none() if _is_detached(volume) else exports.unchanged(volume))
    )
    return condition


def migrate(
    context: Context, id: str, *, host: str | None, cluster: str | None, force_host_copy: bool, lock_volume: bool
) -> None:
    """Accept a move to ``host`` (``host@backend``, or a pool of it). Raises InvalidHost, InvalidVolume.

    ``lock_volume`` shows the volume in maintenance meanwhile. Data is always copied by the service, so
    ``force_host_copy`` changes nothing. A volume in use is accepted, as in Cinder, and fails with a user message: its
    data can only be moved by the server that writes it.
    """
    if (host is None) == (cluster is None):
        raise errors.InvalidInput(reason='One and only one of cluster and host must be set.')
    volume = volumes.get(context, id)
    _check_host(host or str(cluster))
    action = 'migrate_attached' if volume.status == states.IN_USE else 'migrate_locked' if lock_volume else 'migrate'
    row = workflows.VOLUME[action]
    leaves = host not in {volume.host, volume.backend} and not volume.snapshot_count
    if leaves and _is_detached(volume):
        volume = exports.end_all(volume)  # their hosts would continue to write to the data that is left behind
    operation = common.operation(row, host=host, force_host_copy=force_host_copy)
    condition = _is_free(volume) & (Volume.snapshot_count == 0)
    also = [Volume.migration_status.set(states.STARTING)]
    try:
        if host in {volume.host, volume.backend}:
            raise base.state_changed(volume)
        base.begin(volume, row, context.request_id, operation, also=also, condition=condition)
    except errors.StateChanged:
        raise errors.InvalidVolume(
            reason=f'Volume {id} status must be available or in-use, must not be migrating, have snapshots, be '
            'replicated, be part of a group and destination host/cluster must be different than the current one'
        ) from None
    common.send(context, action, volume)


def _check_host(host: str) -> None:
    """Raise InvalidHost unless a volume service of this name is enabled and up."""
    if not is_served(host):
        raise errors.InvalidHost(reason=f"No available service named '{host}'")


def is_served(host: str) -> bool:
    """Return whether the volume service of ``host@backend`` (or a pool of it) is enabled and up."""
    service = Service.find_or_none(base.GLOBAL, f'{services.VOLUME_BINARY}:{host.partition("#")[0]}')
    return service is not None and not service.disabled and services.is_up(service)


def complete_migration(context: Context, id: str, new_volume_id: str, failed: bool) -> str:
    """Answer os-migrate_volume_completion: the id of the volume that is kept. Raises InvalidVolume.

    The service completes its own moves; a caller can only call one off (``failed``). Two volumes of which none is
    being migrated were swapped by Nova itself, which continues with the new one.
    """
    volume, new_volume = volumes.get(context, id), volumes.get(context, new_volume_id)
    if not volume.migration_status and not new_volume.migration_status:
        return new_volume.id
    for which, one in (('Source', volume), ('Destination', new_volume)):
        if not one.migration_status:
            raise errors.InvalidVolume(reason=f'{which} volume not mid-migration.')
    expected = f'target:{volume.id}'
    if new_volume.migration_status != expected:
        raise errors.InvalidVolume(
            reason=f'Destination has migration_status {new_volume.migration_status}, expected {expected}.'
        )
    if failed:
        _call_off(volume, new_volume)
    return volume.id


def _call_off(volume: Volume, target: Volume) -> None:
    failure = [Volume.migration_status.set(states.ERROR)]
    try:
        reservations.end(volume, Volume.owner == target.owner, Outcome.ended(), actions=failure)
    except errors.StateChanged:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} is not being migrated any more.') from None
    discard(target)


def target_of(volume_id: str, request_id: str) -> Volume | None:
    """Return the target of a request's move; None when there is none (any more)."""
    return Volume.find_or_none(base.GLOBAL, target_id(volume_id, request_id))


def target_id(volume_id: str, request_id: str) -> str:
    """One request has one target, however often its work is repeated."""
    return str(uuid.uuid5(uuid.UUID(volume_id), request_id))


def make_target(volume: Volume, held: Condition) -> Volume:
    """Return the target of the move that is under way for the volume, made if need be. Raises StateChanged."""
    row = workflows.VOLUME['receive']
    source = {'volume_id': volume.id, 'volume_project_id': volume.project_id}
    target = Volume(
        base.GLOBAL,
        target_id(volume.id, str(volume.owner)),
        created_at=base.now(),
        user_id=volume.user_id,
        name=volume.name,
        description=f'migration src for {volume.id}',
        size=volume.size,
        availability_zone=volume.availability_zone,
        volume_type_id=volume.operation_facts().get('type_id', volume.volume_type_id),
        encryption_key_id=volume.encryption_key_id,
        migration_status=f'target:{volume.id}',
        consumes_quota=False,
        status=row.running,
        owner=volume.owner,
        in_flight='1',
        deadline=base.after(row.deadline),
        operation=common.operation(row, **source),
    )
    try:
        with base.Transaction() as transaction:
            transaction.check(volume, held)
            transaction.put(target, Volume.id.does_not_exist(), lambda: _Exists())
    except _Exists:
        return target.reload()
    return target


class _Exists(Exception):
    """The target was made by an earlier run."""


def forget(project_id: str, id: str, request_id: str) -> None:
    """Set the migration_status of a move that is lost to error, and clear the operation if it is still the move's.

    The status stays. Raises ServiceUnavailable when the volume changes at each attempt.
    """
    for _ in range(common.CONTENDED):
        volume = Volume.find_or_none(project_id, id)
        if volume is None or volume.migration_status not in states.MOVING:
            return
        actions = [*volume.end_of_move(), *base.touched(Volume)]
        if volume.owner == request_id:
            held = (Volume.operation, Volume.owner, Volume.in_flight, Volume.deadline)
            actions += [attribute.remove() for attribute in held]
        elif volume.operation_facts().get('action') in ACTIONS:
            return
        with contextlib.suppress(*base.moved_on(Volume)):
            base.update(volume, actions, Volume.revision == volume.revision)
            return
    raise errors.ServiceUnavailable(reason=f'volume {id} is being changed; try again')


def discard(target: Volume) -> None:
    """Remove a target that is not needed: at once if it was never placed, else by its own workflow."""
    row = workflows.VOLUME['force_delete']
    receiving = base.owned_by(Volume, workflows.VOLUME['receive'], str(target.owner))
    with contextlib.suppress(*base.moved_on(Volume)):
        if not target.host:
            reservations.end(target, receiving & Volume.host.does_not_exist(), Outcome.removed())
            return
        operation = common.operation(row)
        base.begin(target, row, str(target.owner), operation, condition=receiving)
        common.enqueue(target, 'force_delete', str(target.owner))
