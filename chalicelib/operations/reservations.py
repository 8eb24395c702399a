"""Resources that work in progress reserves for a volume. They are released exactly once, with the status that ends it.

* of its pool: a claim (``claimed_gb``), and the part of it that is in transit (``in_transit_gb``);
* of its project's quota: its size, during an extension ``reserved_gb`` more, and during a retype its number and size
  and those of its snapshots in the counters of the new type (``reserved_type_id``, ``reserved_snapshots``);
* of the source that it is made from: one of the source's readers (``reading``).

The volume's own attributes record what it reserves, so one transaction changes both sides, under the condition that
they are as they were read. The second of two requests finds the condition lost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.models import Group, Pool, Service, Snapshot, Volume, base
from chalicelib.models.pool import service_id
from chalicelib.operations import common, keys, quotas, volume_quota
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules import states, workflows
from chalicelib.rules.states import PREVIOUS

if TYPE_CHECKING:  # most processes of the API never schedule
    from chalicelib.scheduler.pools import PoolState

#: Records that a volume may be made from.
SOURCES: dict[str, type[Volume] | type[Snapshot]] = {'volume': Volume, 'snapshot': Snapshot}


class NoCapacity(Exception):
    """The pool has less capacity left than is needed."""


class SnapshotChanged(Exception):
    """A snapshot of a volume that is retyped was changed or removed meanwhile: read them again."""


class FailedPlacement(NamedTuple):
    """What leaving a pool that failed changes: the volume's operation, which names the attempt, and the pool.

    ``leftover``: the failed attempt may have left an object there. The pool remembers it, and gets no capacity back
    until its backend has reported what is really free.
    """

    operation: dict[str, Any]
    leftover: bool


def claim(volume: Volume, pool: PoolState, held: Condition, failed: FailedPlacement | None = None) -> None:
    """Claim the volume's size on a pool, in one transaction with its host; and leave the pool where it was to be.

    Raises NoCapacity, for a pool whose service is disabled or frozen too; or StateChanged.
    """
    size, zone = int(volume.size), pool.availability_zone
    actions = [
        *([Volume.operation.set(failed.operation)] if failed else []),
        Volume.host.set(pool.name),
        Volume.claimed_gb.set(size),
        Volume.in_transit_gb.set(size),
        Volume.scheduled_at.set(base.now()),
        *([Volume.availability_zone.set(zone)] if zone else []),
        *base.touched(Volume),
    ]
    unplaced = _unchanged_since_read(volume) if failed else Volume.claimed_gb.does_not_exist()
    with base.Transaction() as transaction:
        _add_volume_update_to(transaction, volume, actions, held & unplaced)
        _add_claim_to(transaction, pool.name, size, [Pool.volume_count.add(1)])
        if failed:
            _add_pool_release_to(transaction, volume, failed)


def claim_growth(volume: Volume, new_size: int, held: Condition) -> None:
    """Claim what an extension needs on the volume's pool, unless it has it; ``volume`` shows it then.

    Raises NoCapacity, or StateChanged.
    """
    growth = new_size - int(volume.claimed_gb or 0)
    if growth <= 0:
        return
    actions = [Volume.claimed_gb.set(new_size), Volume.in_transit_gb.add(growth), *base.touched(Volume)]
    with base.Transaction() as transaction:
        _add_volume_update_to(transaction, volume, actions, held & _unchanged_since_read(volume))
        _add_claim_to(transaction, volume.host or '', growth, [])
    volume.claimed_gb, volume.in_transit_gb = new_size, int(volume.in_transit_gb) + growth


def mark_removal(volume: Volume, held: Condition) -> None:
    """Count the whole claim as in transit before the backend frees it, so that no report gives it away twice.

    ``volume`` shows it then.
    """
    missing = int(volume.claimed_gb or 0) - int(volume.in_transit_gb)
    if missing <= 0:
        return
    actions = [Volume.in_transit_gb.set(volume.claimed_gb), *base.touched(Volume)]
    with base.Transaction() as transaction:
        _add_volume_update_to(transaction, volume, actions, held & _unchanged_since_read(volume))
        _add_pool_change_to(transaction, volume, [Pool.in_transit_gb.add(missing), Pool.entered_gb.add(missing)])
    volume.in_transit_gb = volume.claimed_gb


def release_failed_placement(volume: Volume, held: Condition, failed: FailedPlacement) -> None:
    """Release the claim on a pool that failed, and clear the volume's host, in one transaction."""
    actions = [Volume.operation.set(failed.operation), *_without_claim(), *base.touched(Volume)]
    with base.Transaction() as transaction:
        _add_volume_update_to(transaction, volume, actions, held & _unchanged_since_read(volume))
        _add_pool_release_to(transaction, volume, failed)


def _add_pool_release_to(transaction: base.Transaction, volume: Volume, failed: FailedPlacement) -> None:
    returned = [] if failed.leftover else [Pool.claimable_gb.add(int(volume.claimed_gb or 0))]
    remembered = [Pool.leftovers.add({leftover_of(volume.project_id, volume.id)})] if failed.leftover else []
    _add_pool_change_to(transaction, volume, [*returned, *remembered, *_pool_releases(volume, 0)])


def end(
    volume: Volume,
    held: Condition,
    outcome: Outcome,
    *,
    actions: Iterable[Action] = (),
    add_to: Callable[[base.Transaction], None] = lambda _: None,
) -> None:
    """End what is under way: the status, and all that the volume reserved for it, in one transaction.

    ``add_to`` adds what ends with it. Raises StateChanged when another request ended it, SnapshotChanged.
    """
    keep = outcome.kept_gb(volume)
    source = _source(volume)
    usage, reserved = volume_quota.changes(volume, outcome)

    def add_writes_to(transaction: base.Transaction) -> None:
        if outcome.is_removal:
            _add_removal_to(transaction, volume, held)
        else:
            kept = [] if outcome.in_transit else _claim_actions(volume, keep)
            final = [*base.end_actions(volume, outcome.status), *kept, *_without_reservations(volume), *actions]
            _add_volume_update_to(transaction, volume, final, held & _unchanged_since_read(volume))
        for snapshot in outcome.following:
            _add_snapshot_retype_to(transaction, snapshot, volume.reserved_type_id)
        if volume.host and not outcome.in_transit:
            _add_settled_claim_to(transaction, volume, keep, data_stays=outcome.data_stays)
        if source is not None:
            _add_reader_release_to(transaction, source)
        add_to(transaction)

    quotas.commit(volume.project_id, usage, add_writes_to, reserved=reserved)


def _add_removal_to(transaction: base.Transaction, volume: Volume, held: Condition) -> None:
    transaction.delete(volume, held & _unchanged_since_read(volume))
    if volume.consumes_quota:  # what a migration leaves behind is locked by the key of the volume that stays
        keys.add_removal_to(transaction, volume.project_id, volume.encryption_key_id)
    _add_group_departure_to(transaction, volume)


def adopt(volume: Volume, size: int, actions: list[Action], held: Condition) -> None:
    """Count an existing object of ``size`` GiB: on its pool, which reported it as used already, and in the quota."""
    claimed = [Volume.claimed_gb.set(size), Volume.size.set(size), *actions, *base.touched(Volume)]

    def add_writes_to(transaction: base.Transaction) -> None:
        _add_volume_update_to(transaction, volume, claimed, held & _unchanged_since_read(volume))
        _add_pool_change_to(transaction, volume, [Pool.allocated_gb.add(size), Pool.volume_count.add(1)])

    quotas.commit(volume.project_id, {'gigabytes': size}, add_writes_to, type_id=volume.volume_type_id)


def swap(volume: Volume, target: Volume, conditions: tuple[Condition, Condition], actions: list[Action]) -> None:
    """Let the volume be where its data was copied to, and the target where it was, to be removed; one transaction.

    ``conditions``: that each is still held. ``actions`` are more of the volume's. A retype's quota becomes its own.
    """
    held, received = conditions
    usage, reserved = volume_quota.changes(volume, Outcome.retyped_with(()))
    row = workflows.VOLUME['force_delete']
    leaving = [
        *base.begin_actions(Volume, row, str(target.owner), common.operation(row)),
        Volume.migration_status.set(states.DELETING),
    ]

    def add_writes_to(transaction: base.Transaction) -> None:
        moved = [*base.end_actions(volume, PREVIOUS), *_place_of(target), *_without_reservations(volume), *actions]
        _add_volume_update_to(transaction, volume, moved, held & _unchanged_since_read(volume))
        _add_volume_update_to(
            transaction, target, [*leaving, *_place_of(volume)], received & _unchanged_since_read(target)
        )
        _add_settled_claim_to(transaction, target, int(target.claimed_gb or 0))

    quotas.commit(volume.project_id, usage, add_writes_to, reserved=reserved)


def _place_of(volume: Volume) -> list[Action]:
    """Actions that put another volume where this one is; what is claimed there has arrived."""
    facts = {
        'host': volume.host,
        'availability_zone': volume.availability_zone,
        'claimed_gb': volume.claimed_gb,
        'in_transit_gb': 0,
        'name_id': volume.name_id or volume.id,
        'provider_id': volume.provider_id,
        'provider_location': volume.provider_location,
        'shared_targets': volume.shared_targets,
    }
    return [common.set_or_remove(getattr(Volume, name), value) for name, value in facts.items()]


def _add_group_departure_to(transaction: base.Transaction, volume: Volume) -> None:
    """A removed volume counts in its group no longer; a group outlives its volumes, so it exists."""
    if volume.group_id is None:
        return
    actions = [Group.volume_count.add(-1), *base.touched(Group)]
    lost = functools.partial(base.state_changed, volume)
    transaction.update(Group(volume.project_id, volume.group_id), actions, Group.volume_count >= 1, lost)


def start_next_step(
    volume: Volume,
    held: Condition,
    actions: list[Action],
    add_to: Callable[[base.Transaction], None] = lambda _: None,
) -> None:
    """Begin what follows on a volume that has just been made: its claim is in transit no longer.

    ``add_to`` adds the other side of what follows to the transaction.
    """
    settled = [] if volume.claimed_gb is None else [Volume.in_transit_gb.set(0)]
    with base.Transaction() as transaction:
        _add_volume_update_to(transaction, volume, [*actions, *settled], held & _unchanged_since_read(volume))
        add_to(transaction)
        if volume.host:
            _add_settled_claim_to(transaction, volume, int(volume.claimed_gb or 0))


def remember_leftover(pool_id: str, project_id: str, volume_id: str) -> None:
    """Have the pool's next report remove an object that a failed attempt may have left there."""
    actions = [Pool.leftovers.add({leftover_of(project_id, volume_id)}), *base.touched(Pool)]
    base.update(Pool(base.GLOBAL, pool_id), actions)


def leftover_of(project_id: str, volume_id: str) -> str:
    """Return a member of a pool's ``leftovers``."""
    return f'{project_id}/{volume_id}'


def _add_snapshot_retype_to(transaction: base.Transaction, snapshot: Snapshot, type_id: str | None) -> None:
    """Give a snapshot its volume's new type, unless it has changed since it was counted."""
    same = (Snapshot.volume_size == snapshot.volume_size) & has_type(snapshot)
    actions = [Snapshot.volume_type_id.set(str(type_id)), *base.touched(Snapshot)]
    transaction.update(snapshot, actions, Snapshot.id.exists() & same, SnapshotChanged)


def has_type(record: Volume | Snapshot) -> Condition:
    """The condition that a record still has the type that it was read with."""
    attribute = type(record).volume_type_id
    condition: Condition = (
        attribute.does_not_exist() if record.volume_type_id is None else attribute == record.volume_type_id
    )
    return condition


def _add_volume_update_to(
    transaction: base.Transaction, volume: Volume, actions: list[Action], condition: Condition
) -> None:
    transaction.update(volume, actions, Volume.id.exists() & condition)


def _unchanged_since_read(volume: Volume) -> Condition:
    """The condition that the volume holds what it held when it was read, and on the same pool."""
    same: Condition = (Volume.in_transit_gb == volume.in_transit_gb) & (Volume.reserved_gb == volume.reserved_gb)
    for attribute, value in ((Volume.host, volume.host), (Volume.claimed_gb, volume.claimed_gb)):
        same &= attribute.does_not_exist() if value is None else attribute == value
    same &= Volume.reserved_type_id.exists() if volume.reserved_type_id else Volume.reserved_type_id.does_not_exist()
    same &= Volume.reading.exists() if volume.reading else Volume.reading.does_not_exist()
    return same


def _add_claim_to(transaction: base.Transaction, pool_id: str, size: int, also: list[Action]) -> None:
    actions = [
        Pool.claimable_gb.add(-size),
        Pool.in_transit_gb.add(size),
        Pool.allocated_gb.add(size),
        Pool.entered_gb.add(size),
        *also,
        *base.touched(Pool),
    ]
    pool = Pool(base.GLOBAL, pool_id)
    transaction.update(pool, actions, Pool.id.exists() & (Pool.claimable_gb >= size), NoCapacity)
    transaction.check(Service(base.GLOBAL, service_id(pool_id)), _is_open(), NoCapacity)


def _is_open() -> Condition:
    """The condition that an administrator has neither disabled nor frozen a service; a report shows neither."""
    condition: Condition = (Service.disabled.does_not_exist() | (Service.disabled == False)) & (  # noqa: E712
        Service.frozen.does_not_exist() | (Service.frozen == False)  # noqa: E712 - conditions
    )
    return condition


def _add_pool_change_to(transaction: base.Transaction, volume: Volume, actions: list[Action]) -> None:
    """Change the volume's pool; a pool outlives the volumes on it, so it is there."""
    pool = Pool(base.GLOBAL, volume.host)
    missing = errors.ServiceUnavailable(reason=f'the record of pool {volume.host} is missing; wait for its next report')
    transaction.update(pool, [*actions, *base.touched(Pool)], Pool.id.exists(), lambda: missing)


def _add_settled_claim_to(
    transaction: base.Transaction, volume: Volume, keep: int, *, data_stays: bool = False
) -> None:
    freed = int(volume.claimed_gb or 0) - keep
    if freed or volume.in_transit_gb:
        _add_pool_change_to(
            transaction, volume, [Pool.claimable_gb.add(0 if data_stays else freed), *_pool_releases(volume, keep)]
        )


def _pool_releases(volume: Volume, keep: int) -> list[Action]:
    """What a pool no longer counts when the volume keeps ``keep`` GiB there and nothing is in transit any more."""
    return [
        Pool.allocated_gb.add(keep - int(volume.claimed_gb or 0)),
        Pool.in_transit_gb.add(-int(volume.in_transit_gb)),
        *([] if keep else [Pool.volume_count.add(-1)]),
    ]


def _claim_actions(volume: Volume, keep: int) -> list[Action]:
    if not keep:
        return _without_claim() if volume.claimed_gb is not None else []
    return [Volume.claimed_gb.set(keep), Volume.in_transit_gb.set(0)]


def _without_claim() -> list[Action]:
    return [Volume.host.remove(), Volume.claimed_gb.remove(), Volume.in_transit_gb.set(0)]


def _without_reservations(volume: Volume) -> list[Action]:
    """Actions on the volume for the quota and the source that it holds no longer."""
    reserved = [Volume.reserved_gb.set(0)] if volume.reserved_gb else []
    of_type = [Volume.reserved_type_id.remove(), Volume.reserved_snapshots.remove()] if volume.reserved_type_id else []
    return [*reserved, *of_type, *([Volume.reading.remove()] if volume.reading else [])]


def _source(volume: Volume) -> Volume | Snapshot | None:
    """The source that counts this volume as a reader; None when there is none any more."""
    reading = volume.reading
    if not reading:
        return None
    source = SOURCES[reading['resource']].find_or_none(reading['project_id'], reading['id'])
    return source if source is not None and source.reader_count > 0 else None


def reading_of(source: Volume | Snapshot) -> dict[str, str]:
    """Return the ``reading`` of a volume that this source counts."""
    return {'resource': source.resource, 'project_id': source.project_id, 'id': source.id}


def _add_reader_release_to(transaction: base.Transaction, source: Volume | Snapshot) -> None:
    kind = type(source)
    actions = [kind.reader_count.add(-1), *base.touched(kind)]
    transaction.update(source, actions, kind.reader_count >= 1)
