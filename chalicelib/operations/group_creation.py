"""Accept a new group: empty, or with copies of the volumes of a group or of a group snapshot."""

from __future__ import annotations

import collections
import contextlib
import uuid
from collections.abc import Iterable, Sequence

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Group, GroupSnapshot, Snapshot, Volume, base, claims
from chalicelib.operations import (
    common,
    group_snapshots,
    group_types,
    groups,
    keys,
    quotas,
    services,
    type_locks,
    volume_creation,
    volume_types,
)
from chalicelib.operations.group_members import MAX_VOLUMES, volumes_of
from chalicelib.rules import group_specs as specs
from chalicelib.rules import quotas as quota_rules
from chalicelib.rules import states, workflows

#: Volume types of a group: its transaction names each, and has at most 100 writes and checks.
MAX_TYPES = 90

#: The group whose facts are taken over, what is copied, and its parts.
Sources = tuple[Group, Group | GroupSnapshot, Sequence[Volume | Snapshot]]


@claims.made_once('Group')
def create(
    context: Context,
    *,
    name: str | None,
    description: str | None,
    group_type: str,
    volume_types_: Iterable[str],
    availability_zone: str | None,
    legacy: bool = False,
) -> Group:
    """Accept an empty group for volumes of these types (ids or names).

    ``legacy``: through the consistency group API, the only one that may use its group type. Raises NotFound for
    missing types, InvalidInput (the zone), GroupLimitExceeded.
    """
    group = volume_types.again(
        lambda: _accept(context, name, description, group_type, list(volume_types_), availability_zone, legacy=legacy)
    )
    common.send(context, 'create', group)
    return group


def _accept(
    context: Context,
    name: str | None,
    description: str | None,
    group_type: str,
    names_of_types: Sequence[str],
    availability_zone: str | None,
    *,
    legacy: bool,
) -> Group:
    """Record the group; raises TypeChanged when one of its types has changed since it was read."""
    kind = group_types.find(context, group_type)
    if kind.name == specs.CONSISTENCY_GROUPS and not legacy:
        raise errors.Invalid(
            f'Group_type {specs.CONSISTENCY_GROUPS} is reserved for migrating consistency groups. '
            'Cannot be used to create group.'
        )
    types = {one.id: one for one in (volume_types.find(context, named) for named in names_of_types)}
    if len(types) > MAX_TYPES:
        raise errors.InvalidInput(reason=f'A group has at most {MAX_TYPES} volume types, and {len(types)} are named.')
    zone = availability_zone or settings().default_availability_zone
    if availability_zone is not None and not services.known_zones(context, [availability_zone]):
        raise errors.InvalidInput(reason=errors.InvalidAvailabilityZone(az=availability_zone).message)
    row = workflows.GROUP['create']
    group = _record(context, row, name, description, kind.id, types)
    group.availability_zone, group.operation = zone, common.operation(row)
    from chalicelib.operations import group_placement  # and with it the scheduler, which no other request needs

    group.host = group_placement.choose_backend(group, kind, types.values())

    def add_writes_to(transaction: base.Transaction) -> None:
        type_locks.add_check_to(transaction, kind)
        for one in types.values():
            volume_types.add_check_to(transaction, one)
        _add_group_to(transaction, group)

    quotas.commit(context.project_id, {'groups': 1}, add_writes_to)
    return group


def _record(
    context: Context,
    row: workflows.Workflow,
    name: str | None,
    description: str | None,
    type_id: str,
    volume_type_ids: Iterable[str],
) -> Group:
    """The record as it is first written."""
    return Group(
        context.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        name=name,
        description=description,
        group_type_id=type_id,
        volume_type_ids=list(dict.fromkeys(volume_type_ids)),
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
    )


def _add_group_to(transaction: base.Transaction, group: Group) -> None:
    transaction.put(group, Group.id.does_not_exist())


@claims.made_once('Group')
def create_from_src(
    context: Context,
    *,
    name: str | None,
    description: str | None,
    group_snapshot_id: str | None,
    source_group_id: str | None,
) -> Group:
    """Accept a group with a copy of each volume of another group, or of each snapshot of a group snapshot.

    Group, volumes, the readers of what they are copied from and the quota are one transaction; every copy is then
    made by its own workflow, on its source's backend.
    """
    group, copies = volume_types.again(
        lambda: _accept_copies(context, name, description, group_snapshot_id, source_group_id)
    )
    for copy in copies:
        common.send(context, 'create', copy.volume)
    return group


def _accept_copies(
    context: Context,
    name: str | None,
    description: str | None,
    group_snapshot_id: str | None,
    source_group_id: str | None,
) -> tuple[Group, list[volume_creation.Copy]]:
    """Record the group and its volumes; raises TypeChanged when a type has changed since it was read."""
    source, origin, sources = _sources(context, group_snapshot_id, source_group_id)
    row = workflows.GROUP['create_from_src']
    group = _record(context, row, name, description, source.group_type_id, source.volume_type_ids)
    group.availability_zone, group.host = source.availability_zone, source.host
    group.group_snapshot_id, group.source_group_id = group_snapshot_id, source_group_id
    group.volume_count = len(sources)
    group.operation = common.operation(row, members=len(sources))
    copies = [volume_creation.copy_of(context, one, group.id) for one in sources]

    def add_writes_to(transaction: base.Transaction) -> None:
        for kind in {kind.id: kind for copy in copies for kind in copy.kept}.values():
            volume_types.add_check_to(transaction, kind)
        _add_group_to(transaction, group)
        _add_origin_check_to(transaction, origin)
        for copy in copies:
            copy.add_to(transaction)

    with contextlib.ExitStack() as undo:
        for copy in copies:
            undo.enter_context(keys.discarding(copy.key))
        largest = max(int(copy.volume.size) for copy in copies)
        quotas.commit(context.project_id, _quota(copy.volume for copy in copies), add_writes_to, largest=largest)
    return group, copies


def _of_group_snapshot(context: Context, id: str) -> Sources:
    origin = group_snapshots.get(context, id)
    return Group.find(origin.project_id, origin.group_id), origin, group_snapshots.snapshots_of(origin)


def _of_group(context: Context, id: str) -> Sources:
    origin = groups.get(context, id)
    return origin, origin, volumes_of(origin)


def _sources(context: Context, group_snapshot_id: str | None, source_group_id: str | None) -> Sources:
    """Find what is to be copied. Raises InvalidInput when there is nothing."""
    if group_snapshot_id is not None:
        source, origin, sources = _of_group_snapshot(context, group_snapshot_id)
    else:
        source, origin, sources = _of_group(context, str(source_group_id))
    if not sources or origin.project_id != context.project_id:
        raise errors.InvalidInput(
            reason=f'Cannot create group from {origin.resource} {origin.id}: it has nothing to copy in your project.'
        )
    encrypted = sum(one.encryption_key_id is not None for one in sources)
    if 2 * len(sources) + encrypted > 2 * MAX_VOLUMES:
        raise errors.InvalidInput(
            reason=f'{len(sources)} volumes, {encrypted} of them encrypted, are more than one request can copy: '
            f'at most {MAX_VOLUMES}, where an encrypted one counts one and a half.'
        )
    services.refuse_frozen(source.host)
    return source, origin, sources


def _add_origin_check_to(transaction: base.Transaction, origin: Group | GroupSnapshot) -> None:
    """Add the condition that the source of the copies is available, neither being created nor deleted."""
    kind = type(origin)
    if origin.status != states.AVAILABLE:
        raise _not_available(origin)
    transaction.check(origin, kind.status == states.AVAILABLE, lambda: _not_available(origin))


def _not_available(origin: Group | GroupSnapshot) -> errors.Invalid:
    refusal = errors.InvalidGroup if isinstance(origin, Group) else errors.InvalidGroupSnapshot
    return refusal(reason=f'The {origin.resource} {origin.id} to copy must be available.')


def _quota(made: Iterable[Volume]) -> dict[str, int]:
    deltas: collections.Counter[str] = collections.Counter(groups=1)
    for volume in made:
        deltas.update(quota_rules.with_type({'volumes': 1, 'gigabytes': int(volume.size)}, volume.volume_type_id))
    return dict(deltas)
