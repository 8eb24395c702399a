"""The states of move_volume: a volume gets another type, in place or on another pool, or moves to another backend.

Payload of every task: action (retype, migrate, migrate_attached, migrate_locked), resource, project_id, id (of the
volume), request_id; while data is copied also ``copied``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import Driver, ModelUpdate
from chalicelib.models import Volume, VolumeType, base
from chalicelib.operations import (
    common,
    exports,
    moves,
    pools,
    qos_specs,
    reservations,
    scheduling,
    volume_types,
    volumes,
)
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules import extra_specs, states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.pools import PoolState
from chalicelib.tasks import backends, copying, placement
from chalicelib.tasks.create_volume import made_actions, model_actions
from chalicelib.tasks.work import Payload, VolumeWork

logger = logging.getLogger(__name__)


def plan_move(payload: Payload) -> dict[str, bool]:
    """Change the type in place if that suffices ({'done': True}); else claim capacity for a copy.

    Raises VolumeMigrationFailed or NoValidBackend when the volume must stay as it is.
    """
    work = VolumeWork.take(payload)
    if _has_placed_target(work):
        return {'done': False}
    if payload['action'] == 'retype' and _retyped_in_place(work):
        return {'done': True}
    _check_movable(work.record)
    _claim_target(work)
    return {'done': False}


def _has_placed_target(work: VolumeWork) -> bool:
    """Whether an earlier run has claimed capacity for a copy: it marks the volume as migrating before it claims."""
    if work.record.migration_status != states.MIGRATING:
        return False
    target = moves.target_of(work.record.id, work.request_id)
    return target is not None and bool(target.host)


def _retyped_in_place(work: VolumeWork) -> bool:
    """Change the type where the volume is. False: it must move, and may. Raises what forbids that."""
    volume = work.record
    policy = volume.operation_facts()['migration_policy']
    decision = _retype_decision(volume, policy)
    if not _stays(volume, decision):
        placement.await_backend(lambda known: _staying(volume, _retype_among(volume, policy, known), decision))
    if not decision.candidates:
        raise placement.refusal(volume, decision)
    if _stays(volume, decision):
        update = _changed_by_driver(volume)
        if update is not None:
            _end_retype(work, [*_of_type(volume), *model_actions(update)])
            return True
    if policy == 'never':
        raise errors.VolumeMigrationFailed(
            reason='the backend cannot change it in place, and the migration policy is never.'
        )
    return False


def _end_retype(work: VolumeWork, actions: list[Any]) -> None:
    """Give the volume its new type, and its snapshots with it (as Cinder does since Victoria), with their quota.

    A volume under retype gets no new snapshots, but existing ones may be deleted meanwhile. Raises ServiceUnavailable
    when that happens at each attempt.
    """
    volume = work.record
    for _ in range(common.CONTENDED):
        snapshots = volumes.snapshots_of(volume) if volume.snapshot_count else []
        with contextlib.suppress(reservations.SnapshotChanged):
            work.end(Outcome.retyped_with(snapshots), actions)
            return
    raise errors.ServiceUnavailable(reason=f'the snapshots of volume {volume.id} are being changed; try again')


def _retype_decision(volume: Volume, policy: str) -> Decision:
    """Where the volume may have its new type. To stay takes no capacity."""
    decide, stays = functools.partial(_retype_among, volume, policy), functools.partial(_stays, volume)
    return placement.decided_for(str(volume.host), decide, stays)


def _retype_among(volume: Volume, policy: str, known: Sequence[PoolState]) -> Decision:
    spec = scheduling.spec_of(volume, 'retype', _new_type_id(volume), **_zones(volume))
    config, facts, host = pools.config(), scheduling.facts(volume), str(volume.host)
    return filter_scheduler.retype(spec, known, config, host, policy, facts=facts, now=time.time())


def _stays(volume: Volume, decision: Decision) -> bool:
    return bool(decision.candidates) and decision.candidates[0].name == volume.host


def _staying(volume: Volume, revived: Decision, decision: Decision) -> Decision:
    """What is worth waiting for: the volume's own pool, or any where there is none now."""
    is_better = _stays(volume, revived) or not decision.candidates
    return revived if is_better else dataclasses.replace(revived, candidates=[])


def _zones(volume: Volume) -> dict[str, Any]:
    """The zones of the new type, else the one where the volume is."""
    kind = _new_type(volume)
    of_type = extra_specs.availability_zones(kind.extra_specs) if kind else None
    return {'availability_zones': tuple(of_type)} if of_type else {'availability_zone': volume.availability_zone}


def _new_type_id(volume: Volume) -> str | None:
    """The type that the volume is to have: for a move that keeps the type, the one it has."""
    found: str | None = volume.operation_facts().get('type_id', volume.volume_type_id)
    return found


def _new_type(volume: Volume) -> VolumeType | None:
    """The same, read consistently. Raises VolumeTypeNotFound for one that is gone."""
    id = _new_type_id(volume)
    return volume_types.read(id) if id else None


def _changed_by_driver(volume: Volume) -> ModelUpdate | None:
    """What the driver makes of the change; a driver without retype finds nothing of a type on a volume."""
    driver = backends.driver(volume)
    if not driver.capabilities.retype:
        return {}
    kind = _new_type(volume)
    specs = kind.extra_specs if kind else {}
    ref = backends.volume_ref(volume)
    wanted = dataclasses.replace(
        ref,
        extra_specs=specs,
        qos_specs=qos_specs.back_end(kind),
        multiattach=extra_specs.is_multiattach(specs),
    )
    return driver.retype(ref, wanted)


def _of_type(volume: Volume) -> list[Any]:
    """Actions that give the volume its new type; none for a move that keeps the type."""
    if 'type_id' not in volume.operation_facts():
        return []
    kind = volume_types.read(volume.operation_facts()['type_id'])
    return [Volume.volume_type_id.set(kind.id), Volume.multiattach.set(extra_specs.is_multiattach(kind.extra_specs))]


def _check_movable(volume: Volume) -> None:
    """Raise VolumeMigrationFailed for a volume whose data cannot be copied by the service."""
    if volume.attachment_count or volume.exports:
        raise errors.VolumeMigrationFailed(reason='a server is writing to the volume: detach it first.')
    if volume.snapshot_count:
        raise errors.VolumeMigrationFailed(reason='the volume has snapshots, which cannot move with it.')


def _claim_target(work: VolumeWork) -> None:
    """Make the target and claim capacity for it on the best candidate that has some."""
    volume = work.record
    target = _receiving(moves.make_target(volume, work.is_ours), work)
    if volume.migration_status != states.MIGRATING:
        work.update([Volume.migration_status.set(states.MIGRATING)])
    decision = _destinations(volume, pools.states(fresh=True))
    is_retype = 'type_id' in volume.operation_facts()  # it may copy within its own pool, a migration may not
    if placement.claim_best(target, decision, not_on=None if is_retype else volume.host):
        return
    placement.await_backend(lambda known: _destinations(volume, known))
    raise placement.refusal(volume, decision)


def _destinations(volume: Volume, known: Sequence[PoolState]) -> Decision:
    host = volume.operation_facts().get('host')
    spec = scheduling.spec_of(volume, 'migrate_volume', _new_type_id(volume), **({} if host else _zones(volume)))
    config, now = pools.config(), time.time()
    if host:
        return filter_scheduler.check_host(spec, known, config, host, facts=scheduling.facts(volume), now=now)
    return filter_scheduler.schedule(spec, known, config, facts=scheduling.facts(volume), now=now)


def prepare_target(payload: Payload) -> None:
    """Make the empty volume that receives the data."""
    target = _target(VolumeWork.take(payload))
    driver = backends.driver(target.record)
    target.update(made_actions(driver, driver.create_volume(backends.volume_ref(target.record, new=True))))


def _target(work: VolumeWork) -> VolumeWork:
    """The work on the move's target, while it receives. Raises StateChanged."""
    target = moves.target_of(work.record.id, work.request_id)
    if target is None or target.operation_facts().get('action') != 'receive':
        raise base.state_changed(work.record)
    return _receiving(target, work)


def _receiving(target: Volume, work: VolumeWork) -> VolumeWork:
    return VolumeWork(target, workflows.VOLUME['receive'], work.payload)


def copy_volume(payload: Payload) -> dict[str, Any]:
    """Copy from where the last call stopped; {'done', 'next'}."""
    work = VolumeWork.take(payload)
    volume, target, path = work.record, _target(work).record, work.export_id
    old, new = backends.driver(volume), backends.driver(target)
    start = (payload.get('copied') or {}).get('next', 0)
    with (
        old.open_volume(backends.volume_ref(volume), path, 'ro') as source,
        new.open_restore(backends.volume_ref(target), path) as device,
    ):
        return copying.copy(source, device, start, zeroed=_is_zeroed(new))


def _is_zeroed(driver: Driver) -> bool:
    """Whether what a new volume's data is written to reads as zeroes; what comes in as a whole always does."""
    return driver.capabilities.zeroed_volumes or not driver.capabilities.opens_volumes


def complete_move(payload: Payload) -> None:
    """Close the exports, swap the places of volume and target, and start the target's removal with the old data."""
    work = VolumeWork.take(payload)
    receiving, volume = _target(work), work.record
    target = receiving.record
    if volume.reader_count:
        raise errors.ServiceUnavailable(reason=f'volume {volume.id} is being read by {volume.reader_count} clone')
    update = backends.driver(target).complete_restore(
        backends.volume_ref(target), work.export_id, lambda: _written(work)
    )
    backends.driver(volume).close_volume(backends.volume_ref(volume), work.export_id)
    receiving.update(model_actions(update))
    held = work.is_ours & (Volume.reader_count == 0) & exports.are_none() & (Volume.snapshot_count == 0)
    actions = [Volume.migration_status.set(states.SUCCESS), *_of_type(volume)]
    reservations.swap(volume, target, (held, receiving.is_ours), actions)
    common.enqueue(target, 'force_delete', work.request_id)


def _written(work: VolumeWork) -> Iterator[tuple[int, int]]:
    """Where the source has data: what was written to a target that was empty."""
    ref = backends.volume_ref(work.record)
    with backends.driver(work.record).open_volume(ref, work.export_id, 'ro') as source:
        yield from source.allocated(0, source.size)


def fail_move(payload: Payload) -> None:
    """Report why; the volume is as and where it was, and what was made for the move is removed."""
    work = VolumeWork.take(payload)
    volume = work.record
    target = moves.target_of(volume.id, work.request_id)
    if target is not None:
        _try_close(volume, target)
        moves.discard(target)
    action = Action.VOLUME_RETYPE if payload['action'] == 'retype' else Action.VOLUME_MIGRATE
    work.report(action, Detail.VOLUME_MOVE_ERROR)
    failed = [Volume.migration_status.set(states.ERROR)] if volume.migration_status in states.MOVING else []
    work.end(Outcome.ended(), failed)


def _try_close(volume: Volume, target: Volume) -> None:
    """Close the exports; only log an error: no host knows their secret, and they end with the volumes.

    The move's exports have the name of its target (work.export_id, moves.target_id).
    """
    try:
        if target.host:
            backends.driver(volume).close_volume(backends.volume_ref(volume), target.id)
            backends.driver(target).cancel_restore(backends.volume_ref(target), target.id)
    except errors.CinderlessError as left:
        logger.warning('exports of volume %s may be left: %s', volume.id, left.message)


def abandon_move(payload: Payload) -> None:
    """Remove what was made for the move, and its traces on the volume, which this move does not own any more."""
    with contextlib.suppress(errors.StateChanged, errors.VolumeNotFound):
        VolumeWork.take(payload)  # only the target is lost
        fail_move(payload)
        return
    moves.forget(payload['project_id'], payload['id'], payload['request_id'])
    target = moves.target_of(payload['id'], payload['request_id'])
    if target is not None and target.operation_facts().get('action') == 'force_delete':
        common.enqueue(target, 'force_delete', payload['request_id'])  # done, but for this message
    elif target is not None:
        volume = Volume.find_or_none(payload['project_id'], payload['id'])
        if volume is not None:
            _try_close(volume, target)
        moves.discard(target)
