"""The states of manage_volume, unmanage_volume, manage_snapshot and unmanage_snapshot, and the list of what there is.

Payload of every task: action, resource, project_id, id, request_id; of get_manageable: host and resource.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import Driver, ManageableObject
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import holds, messages, quotas, scheduling
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement, postponing
from chalicelib.tasks.create_volume import made_actions
from chalicelib.tasks.ownership import Payload, failure, ours, owned
from chalicelib.tasks.snapshots import forget_snapshot

logger = logging.getLogger(__name__)


def manage_volume(payload: Payload) -> None:
    """Find the object, count its size, and bring it under the volume's name."""
    volume = _placed(owned(Volume, payload))
    driver, ref = backends.driver(volume), volume.operation_facts()['ref']
    if volume.claimed_gb is None:
        _check_unknown(Volume, ref)
        size = driver.manage_existing_get_size(backends.volume_ref(volume), ref)
        holds.adopt(volume, size, [], ours(volume))
        volume = owned(Volume, payload)
    update = driver.manage_existing(backends.volume_ref(volume, new=True), ref)
    final = [Volume.launched_at.set(base.now()), *made_actions(driver, update)]
    holds.end(volume, ours(volume), workflows.VOLUME['manage'].done, actions=final)


def _placed(volume: Volume) -> Volume:
    """Have the scheduler agree, and note the pool when only its backend was named. Raises NoValidBackend."""
    if volume.claimed_gb is not None:
        return volume
    zone = volume.availability_zone
    spec = scheduling.spec_of(volume, 'manage_existing', size=0, availability_zone=zone)
    pool = placement.check(volume, spec, str(volume.host))
    if pool != volume.host:
        base.update(volume, [Volume.host.set(pool), *base.touched(Volume)], ours(volume))
    return volume


def _check_unknown(kind: type[Volume] | type[Snapshot], ref: Mapping[str, str]) -> None:
    """Raise ManageExistingInvalidReference for an object that a record stands for already."""
    known = _records(kind)
    named = next((known[name] for name in ref.values() if name in known), None)
    if named is not None:
        reason = f'it is managed already, as {kind.resource} {named.id}.'
        raise errors.ManageExistingInvalidReference(existing_ref=dict(ref), reason=reason)


def _records(kind: type[Volume] | type[Snapshot]) -> dict[str, Volume | Snapshot]:
    """Name on the backend -> the record that it is of."""
    found: dict[str, Volume | Snapshot] = {}
    for record in base.every(kind, None):
        found[f'{kind.resource}-{getattr(record, "name_id", None) or record.id}'] = record
        if record.provider_id:
            found[str(record.provider_id)] = record
    return found


def fail_manage_volume(payload: Payload) -> None:
    """Say why; the object gets away from the volume's name, and quota and pool count it no longer."""
    volume = owned(Volume, payload)
    _tell(volume, payload, Action.VOLUME_MANAGE, Detail.MANAGE_ERROR)
    if volume.claimed_gb is not None:
        _try(lambda: backends.driver(volume).unmanage(backends.volume_ref(volume)), volume)
    actions = [Volume.consumes_quota.set(False)]
    if volume.claimed_gb is None:
        actions.append(Volume.host.remove())
    status = workflows.VOLUME['manage'].failed
    holds.end(volume, ours(volume), status, actions=actions, keep_gb=0, leaves=True, uncounted=True)


def _try(work: Callable[[], None], record: Volume | Snapshot) -> None:
    """A backend that fails must not keep a failure from being told."""
    try:
        work()
    except errors.CinderlessError as left:
        logger.warning('the object of %s %s may keep its name: %s', record.resource, record.id, left.message)


def _tell(record: Volume | Snapshot, payload: Payload, action: Action, detail: Detail) -> None:
    error, reason = failure(payload)
    messages.create(record, payload['request_id'], action, detail, cause=reason, error=error)


def unmanage_volume(payload: Payload) -> None:
    """Have the driver let go of the object, then forget the record with its quota; the room stays taken."""
    volume = owned(Volume, payload)
    backends.end_exports(volume)
    backends.driver(volume).unmanage(backends.volume_ref(volume))
    holds.end(volume, ours(volume), states.REMOVED, leaves=True)


def fail_unmanage_volume(payload: Payload) -> None:
    """Say why the volume is still managed; a backend that does not answer only postpones its release."""
    volume = owned(Volume, payload)
    if postponing.postpone(volume, payload, ours(volume), Action.UNMANAGE_VOLUME, Detail.UNMANAGE_ERROR):
        return
    _tell(volume, payload, Action.UNMANAGE_VOLUME, Detail.UNMANAGE_ERROR)
    holds.end(volume, ours(volume), workflows.VOLUME[payload['action']].failed)


def manage_snapshot(payload: Payload) -> None:
    """Bring an existing object under the snapshot's name; its own size counts."""
    snapshot = owned(Snapshot, payload)
    volume, ref = Volume.find(snapshot.project_id, snapshot.volume_id), (snapshot.operation or {})['ref']
    driver = backends.driver(volume)
    if not (snapshot.operation or {}).get('sized'):
        _check_unknown(Snapshot, ref)
        _resize(snapshot, driver.manage_existing_snapshot_get_size(backends.snapshot_ref(snapshot, volume), ref))
        snapshot = owned(Snapshot, payload)
    update = driver.manage_existing_snapshot(backends.snapshot_ref(snapshot, volume), ref)
    made = [Snapshot.provider_id.set(update['provider_id'])] if update.get('provider_id') else []
    final = [*base.end_actions(snapshot, workflows.SNAPSHOT['manage'].done), Snapshot.progress.set('100%')]
    base.update(snapshot, [*final, *made], ours(snapshot))


def _resize(snapshot: Snapshot, size: int) -> None:
    """Set the snapshot's size and have the quota follow. Raises OverQuota."""
    sized = {**(snapshot.operation or {}), 'sized': True}
    actions = [Snapshot.volume_size.set(size), Snapshot.operation.set(sized), *base.touched(Snapshot)]
    condition = ours(snapshot) & (Snapshot.volume_size == snapshot.volume_size) & holds.has_type(snapshot)

    def build(transaction: base.Transaction) -> None:
        transaction.update(snapshot, actions, condition, lambda: base.state_changed(snapshot))

    deltas = {'gigabytes': size - int(snapshot.volume_size)} if snapshot.consumes_quota else {}
    quotas.commit(snapshot.project_id, deltas, build, type_id=snapshot.volume_type_id)


def fail_manage_snapshot(payload: Payload) -> None:
    """Say why; the object gets away from the snapshot's name, so that deleting the record cannot delete it."""
    snapshot = owned(Snapshot, payload)
    _tell(snapshot, payload, Action.SNAPSHOT_MANAGE, Detail.MANAGE_ERROR)
    with contextlib.suppress(errors.VolumeNotFound):
        volume = Volume.find(snapshot.project_id, snapshot.volume_id)
        ref = backends.snapshot_ref(snapshot, volume)
        _try(lambda: backends.driver(volume).unmanage_snapshot(ref), snapshot)
    base.update(snapshot, base.end_actions(snapshot, workflows.SNAPSHOT['manage'].failed), ours(snapshot))


def unmanage_snapshot(payload: Payload) -> None:
    """Have the driver let go of the object, then forget the record with its quota."""
    snapshot = owned(Snapshot, payload)
    volume = Volume.find(snapshot.project_id, snapshot.volume_id)
    backends.driver(volume).unmanage_snapshot(backends.snapshot_ref(snapshot, volume))
    forget_snapshot(snapshot, volume)


def fail_unmanage_snapshot(payload: Payload) -> None:
    """Say why the snapshot is still managed; a backend that does not answer only postpones its release."""
    snapshot = owned(Snapshot, payload)
    if postponing.postpone(snapshot, payload, ours(snapshot), Action.SNAPSHOT_UNMANAGE, Detail.UNMANAGE_ERROR):
        return
    _tell(snapshot, payload, Action.SNAPSHOT_UNMANAGE, Detail.UNMANAGE_ERROR)
    base.update(snapshot, base.end_actions(snapshot, workflows.SNAPSHOT['unmanage'].failed), ours(snapshot))


def get_manageable(payload: Payload) -> list[dict[str, Any]]:
    """Return what a backend, or one pool of it, has. Payload: host, resource (volume or snapshot)."""
    backend, _, pool = payload['host'].partition('#')
    driver = backends.on(backend)
    kind: type[Volume] | type[Snapshot] = Volume if payload['resource'] == 'volume' else Snapshot
    pools = [pool] if pool else [one['pool_name'] for one in driver.get_volume_stats()['pools']]
    known = _records(kind)
    return [_shown(found, known) for name in pools for found in _objects(driver, kind, name)]


def _objects(driver: Driver, kind: type[Volume] | type[Snapshot], pool: str) -> list[ManageableObject]:
    return driver.get_manageable_volumes(pool) if kind is Volume else driver.get_manageable_snapshots(pool)


def _shown(found: ManageableObject, known: Mapping[str, Volume | Snapshot]) -> dict[str, Any]:
    name = next(iter(found.reference.values()))
    record = known.get(name) or known.get(str(found.provider_id))
    reason = 'already managed' if record is not None else found.reason_not_safe
    source = {} if found.source_reference is None else {'source_reference': dict(found.source_reference)}
    return {
        'reference': dict(found.reference),
        'size': found.size,
        'safe_to_manage': reason is None,
        'reason_not_safe': reason,
        'cinder_id': record.id if record is not None else None,
        'extra_info': found.extra_info,
        **source,
    }
