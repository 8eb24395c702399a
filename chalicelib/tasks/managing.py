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
from chalicelib.operations import quotas, reservations, scheduling, transfers
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement, postponing
from chalicelib.tasks.create_volume import made_actions
from chalicelib.tasks.snapshots import WHOLE, forget_snapshot, snapshot_actions
from chalicelib.tasks.work import Payload, SnapshotWork, VolumeWork

logger = logging.getLogger(__name__)


def manage_volume(payload: Payload) -> None:
    """Find the object, count its size, and bring it under the volume's name."""
    work = VolumeWork.take(payload)
    _set_pool(work)
    driver, ref = backends.driver(work.record), work.record.operation_facts()['ref']
    if work.record.claimed_gb is None:
        _check_unknown(Volume, ref)
        size = driver.manage_existing_get_size(backends.volume_ref(work.record), ref)
        reservations.adopt(work.record, size, [], work.is_ours)
        work = VolumeWork.take(payload)
    update = driver.manage_existing(backends.volume_ref(work.record, new=True), ref)
    final = [Volume.launched_at.set(base.now()), *made_actions(driver, update)]
    work.end(work.workflow.done, final)


def _set_pool(work: VolumeWork) -> None:
    """Have the scheduler agree, and record the pool when only its backend was named. Raises NoValidBackend."""
    volume = work.record
    if volume.claimed_gb is not None:
        return
    spec = scheduling.spec_of(volume, 'manage_existing', size=0, availability_zone=volume.availability_zone)
    pool = placement.check(volume, spec, str(volume.host))
    if pool != volume.host:
        work.update([Volume.host.set(pool)])


def _check_unknown(kind: type[Volume] | type[Snapshot], ref: Mapping[str, str]) -> None:
    """Raise ManageExistingInvalidReference for an object that has a record already."""
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
    """Report why; the object gets away from the volume's name, and quota and pool count it no longer."""
    work = VolumeWork.take(payload)
    volume = work.record
    work.report(Action.VOLUME_MANAGE, Detail.MANAGE_ERROR)
    if volume.claimed_gb is not None:
        _try(lambda: backends.driver(volume).unmanage(backends.volume_ref(volume)), volume)
    actions = [Volume.consumes_quota.set(False)]
    if volume.claimed_gb is None:
        actions.append(Volume.host.remove())
    work.end(Outcome.management_failed(work.workflow.failed), actions)


def _try(call: Callable[[], None], record: Volume | Snapshot) -> None:
    """A backend that fails must not keep a failure from being recorded."""
    try:
        call()
    except errors.CinderlessError as left:
        logger.warning('the object of %s %s may keep its name: %s', record.resource, record.id, left.message)


def unmanage_volume(payload: Payload) -> None:
    """Have the driver release the object, then forget the record with its quota; the capacity stays taken."""
    work = VolumeWork.take(payload)
    backends.end_exports(work.record)
    backends.driver(work.record).unmanage(backends.volume_ref(work.record))
    transfers.forget_offers(work.record)
    work.end(Outcome.unmanaged())


def fail_unmanage_volume(payload: Payload) -> None:
    """Report why the volume is still managed; a backend that does not answer only postpones its release."""
    postponing.postpone_or_fail(VolumeWork.take(payload), Action.UNMANAGE_VOLUME, Detail.UNMANAGE_ERROR)


def manage_snapshot(payload: Payload) -> None:
    """Bring an existing object under the snapshot's name; its own size counts."""
    work = SnapshotWork.take(payload)
    snapshot = work.record
    volume, ref = Volume.find(snapshot.project_id, snapshot.volume_id), (snapshot.operation or {})['ref']
    driver = backends.driver(volume)
    if not (snapshot.operation or {}).get('sized'):
        _check_unknown(Snapshot, ref)
        _resize(work, driver.manage_existing_snapshot_get_size(backends.snapshot_ref(snapshot, volume), ref))
        work = SnapshotWork.take(payload)
    update = driver.manage_existing_snapshot(backends.snapshot_ref(work.record, volume), ref)
    work.end(work.workflow.done, [Snapshot.progress.set(WHOLE), *snapshot_actions(update)])


def _resize(work: SnapshotWork, size: int) -> None:
    """Set the snapshot's size and have the quota follow. Raises OverQuota."""
    snapshot = work.record
    sized = {**(snapshot.operation or {}), 'sized': True}
    actions = [Snapshot.volume_size.set(size), Snapshot.operation.set(sized), *base.touched(Snapshot)]
    unchanged = (Snapshot.volume_size == snapshot.volume_size) & reservations.has_type(snapshot)

    def add_writes_to(transaction: base.Transaction) -> None:
        transaction.update(snapshot, actions, work.is_ours & unchanged)

    deltas = {'gigabytes': size - int(snapshot.volume_size)} if snapshot.consumes_quota else {}
    quotas.commit(snapshot.project_id, deltas, add_writes_to, type_id=snapshot.volume_type_id)


def fail_manage_snapshot(payload: Payload) -> None:
    """Report why; the object gets away from the snapshot's name, so that deleting the record cannot delete it."""
    work = SnapshotWork.take(payload)
    snapshot = work.record
    work.report(Action.SNAPSHOT_MANAGE, Detail.MANAGE_ERROR)
    with contextlib.suppress(errors.VolumeNotFound):
        volume = Volume.find(snapshot.project_id, snapshot.volume_id)
        ref = backends.snapshot_ref(snapshot, volume)
        _try(lambda: backends.driver(volume).unmanage_snapshot(ref), snapshot)
    work.end(work.workflow.failed)


def unmanage_snapshot(payload: Payload) -> None:
    """Have the driver release the object, then forget the record with its quota."""
    work = SnapshotWork.take(payload)
    volume = Volume.find(work.record.project_id, work.record.volume_id)
    backends.driver(volume).unmanage_snapshot(backends.snapshot_ref(work.record, volume))
    forget_snapshot(work, volume)


def fail_unmanage_snapshot(payload: Payload) -> None:
    """Report why the snapshot is still managed; a backend that does not answer only postpones its release."""
    postponing.postpone_or_fail(SnapshotWork.take(payload), Action.SNAPSHOT_UNMANAGE, Detail.UNMANAGE_ERROR)


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
