"""The states of create_volume: place a new volume, provision it, and undo what failed.

Payload of every task: action, resource, project_id, id, request_id; after Schedule also ``placed.host``, the pool that
the next state works on: a task that runs late finds another one on the record and does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Mapping

from pynamodb.expressions.update import Action as Write

from chalicelib import errors, telemetry
from chalicelib.drivers.base import Driver, ModelUpdate, VolumeRef
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import backup_reservations, common, groups, progress, reservations
from chalicelib.rules import workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement
from chalicelib.tasks.work import Payload, VolumeWork, failure

logger = logging.getLogger(__name__)

#: What a driver may set on the record.
MODEL_FIELDS = ('provider_id', 'provider_location')


def schedule(payload: Payload) -> dict[str, str]:
    """Claim capacity for the volume on a pool; return that pool, or the one that it has already."""
    return {'host': _placed_host(VolumeWork.take(payload))}


def _placed_host(work: VolumeWork) -> str:
    return work.record.host or placement.place(work)


def provision(payload: Payload) -> None:
    """Make the volume on its pool; record the driver's facts and the final status in one transaction.

    A run that was cut off before that is repeated: the driver finds what it has made.
    """
    work = _placed(payload)
    driver = backends.driver(work.record)
    made = made_actions(driver, _create(driver, work.record))
    try:
        _complete(work, [*made, Volume.launched_at.set(base.now())])
    except (errors.StateChanged, errors.NotFound):
        _remove_unwanted(payload)
        raise


def made_actions(driver: Driver, update: ModelUpdate) -> list[Write]:
    """Return the actions that record a driver's facts about a volume that is new on its backend."""
    return [*model_actions(update), Volume.shared_targets.set(driver.capabilities.shared_targets)]


def model_actions(update: ModelUpdate) -> list[Write]:
    """Return the actions that record a driver's facts about its volume."""
    return [getattr(Volume, name).set(update[name]) for name in MODEL_FIELDS if update.get(name) is not None]


def _placed(payload: Payload) -> VolumeWork:
    """Take the work while the volume is on the pool that this execution placed it on."""
    work = VolumeWork.take(payload)
    if work.record.host != payload['placed']['host']:
        raise base.state_changed(work.record)
    return work


def _create(driver: Driver, volume: Volume) -> ModelUpdate:
    ref = backends.volume_ref(volume, new=True)
    reading = volume.reading
    if not reading:
        return driver.create_volume(ref)
    if reading['resource'] == 'snapshot':
        snapshot = Snapshot.find(reading['project_id'], reading['id'])
        source = snapshot.find_volume()
        return driver.create_volume_from_snapshot(ref, backends.snapshot_ref(snapshot, source))
    return driver.create_cloned_volume(ref, backends.volume_ref(Volume.find(reading['project_id'], reading['id'])))


def _complete(work: VolumeWork, actions: list[Write]) -> None:
    """Make the volume available, or begin the restore or the download that it is made for."""
    volume = work.record
    if volume.backup_id:
        _begin_restore(work, actions)
    elif 'image_id' in volume.operation_facts():
        _begin_download(work, actions)
    else:
        work.end(work.workflow.done, actions)
        groups.settle_group_of(volume)
    telemetry.count('CandidatesTried', 1 + len(volume.operation_facts().get('attempted', [])))


def _begin_download(work: VolumeWork, actions: list[Write]) -> None:
    """Begin to write the image to the volume."""
    volume, workflow = work.record, workflows.VOLUME['download']
    operation = common.operation(workflow, image_id=volume.operation_facts()['image_id'], new=True)
    begun = base.begin_actions(Volume, workflow, work.request_id, operation)
    reservations.start_next_step(volume, work.is_ours, [*begun, *actions])
    common.enqueue(volume, 'download', work.request_id)


def _begin_restore(work: VolumeWork, actions: list[Write]) -> None:
    """Begin the restore of the backup that the volume is made from; both records change together."""
    volume, workflow = work.record, workflows.VOLUME['restore']
    backup = backup_reservations.backup_of(volume)
    operation = common.operation(workflow, backup_id=backup.id, backup_project_id=backup.project_id, new=True)
    begun = base.begin_actions(Volume, workflow, work.request_id, operation)
    started = Volume.progress.set(progress.begun(int(backup.size)))
    reservations.start_next_step(
        volume, work.is_ours, [*begun, started, *actions], functools.partial(_add_backup_restore_to, work, backup)
    )
    common.enqueue(backup, 'restore', work.request_id, volume)


def _add_backup_restore_to(work: VolumeWork, backup: Backup, transaction: base.Transaction) -> None:
    workflow = workflows.BACKUP['restore']
    actions = [
        *base.begin_actions(Backup, workflow, work.request_id, common.operation(workflow)),
        Backup.restore_volume_id.set(work.record.id),
    ]
    free = base.is_allowed(Backup, workflow) | backup_reservations.is_awaited(work.record, work.request_id)
    busy = errors.InvalidBackup(reason=f'Backup {backup.id} is no longer available')
    transaction.update(backup, actions, free, lambda: busy)


def reschedule(payload: Payload) -> dict[str, str]:
    """Undo the attempt on the pool that failed, release its claim, and claim the next candidate."""
    host = payload['placed']['host']
    try:
        work = VolumeWork.take(payload)
    except errors.StateChanged:
        _remove_unwanted(payload)
        raise
    if work.record.host == host:
        return {'host': _next(work, _undone(work.record, *failure(payload)))}
    return {'host': _placed_host(work)}


def _next(work: VolumeWork, failed: reservations.FailedPlacement) -> str:
    """Claim capacity on the next candidate and leave the one that failed.

    Raises NoValidBackend with none left, having left it.
    """
    volume = work.record
    volume.operation = failed.operation
    try:
        return placement.place(work, failed)
    except errors.NoValidBackend:
        # The refusal put its explanation on the operation: the message of fail_create shows it.
        explained = failed._replace(operation=volume.operation_facts() or failed.operation)
        reservations.release_failed_placement(volume, work.is_ours, explained)
        raise


def _undone(volume: Volume, error: str, reason: str) -> reservations.FailedPlacement:
    """Remove what the attempt may have left, if the backend allows it; return the facts for its record and pool."""
    removed = _removed(str(volume.host), backends.volume_ref(volume))
    leftover = not removed or not _is_answer(error)
    operation = volume.operation_facts()
    attempt = {'host': volume.host, 'error': error, 'reason': reason[:300]}
    attempted = [*operation.get('attempted', []), attempt]
    return reservations.FailedPlacement({**operation, 'attempted': attempted}, leftover)


def _is_answer(error: str) -> bool:
    """Return whether the backend reported the failure; a worker that was cut off may have left it working."""
    kind = getattr(errors, error, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.CinderlessError)):
        return False
    return not issubclass(kind, errors.BackendUnavailable | errors.ServiceUnavailable)


def _removed(host: str, ref: VolumeRef) -> bool:
    """Remove the volume's object from a backend; whether nothing of it can be left there."""
    try:
        backends.on(host).delete_volume(ref)
    except errors.CinderlessError as error:
        logger.warning('volume %s may be left on %s: %s', ref.id, host, error.message)
        return False
    return True


def _remove_unwanted(payload: Payload) -> None:
    """Remove an object that was made for a volume which is gone or lives elsewhere by now.

    A volume that its project no longer has may be another project's by a transfer, which no index shows at once. So its
    object is left to the pool's next report, which looks for the volume again.
    """
    host = payload['placed']['host']
    volume = Volume.find_or_none(payload['project_id'], payload['id'])
    if volume is not None and volume.host == host:
        return
    if volume is None or not _removed(host, VolumeRef(payload['id'], 0, payload['project_id'], host)):
        reservations.remember_leftover(host, payload['project_id'], payload['id'])


def fail_create(payload: Payload) -> None:
    """Report why there is no volume, and release all that it has reserved but its quota, which its removal releases."""
    work, (error, reason) = VolumeWork.take(payload), failure(payload)
    if work.record.host:
        failed = _undone(work.record, error, reason)
        reservations.release_failed_placement(work.record, work.is_ours, failed)
        work = VolumeWork.take(payload)
    work.report(*_MESSAGES.get(error, _FAILED_TO_CREATE))
    with contextlib.suppress(errors.BackupNotFound):
        backup_reservations.end_waiting(backup_reservations.backup_of(work.record), work.record, work.request_id)
    work.end(work.workflow.failed)
    groups.settle_group_of(work.record)


_FAILED_TO_CREATE = (Action.CREATE_VOLUME_FROM_BACKEND, Detail.DRIVER_FAILED_CREATE)
_MESSAGES: Mapping[str, tuple[Action, Detail]] = {
    'NoValidBackend': (Action.SCHEDULE_ALLOCATE_VOLUME, Detail.NO_BACKEND_AVAILABLE),
}
