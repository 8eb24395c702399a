"""The states of create_volume: place a new volume, provision it, and undo what failed.

Payload of every task: action, resource, project_id, id, request_id; after Schedule also ``placed.host``, the pool that
the next state is about: a task that comes late finds another one on the record and does nothing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from pynamodb.expressions.update import Action as Write

from chalicelib import errors, telemetry
from chalicelib.drivers.base import Driver, ModelUpdate, VolumeRef
from chalicelib.models import Backup, Snapshot, Volume, base
from chalicelib.operations import backup_holds, common, groups, holds, messages, progress
from chalicelib.rules import workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, placement
from chalicelib.tasks.ownership import Payload, failure, ours, owned

logger = logging.getLogger(__name__)

#: What a driver may set on the record.
MODEL_FIELDS = ('provider_id', 'provider_location')


def schedule(payload: Payload) -> dict[str, str]:
    """Claim room for the volume on a pool; return the one it has, when it has."""
    volume = owned(Volume, payload)
    return {'host': volume.host or placement.place(volume, ours(volume))}


def provision(payload: Payload) -> None:
    """Make the volume on its pool; what the driver says of it and its final status are recorded in one transaction.

    A run that was cut off before that is repeated: the driver finds what it has made.
    """
    volume = _placed(payload)
    driver = backends.driver(volume)
    made = made_actions(driver, _create(driver, volume))
    try:
        _complete(volume, payload, [*made, Volume.launched_at.set(base.now())])
    except (errors.StateChanged, errors.NotFound):
        _remove_unwanted(payload)
        raise


def made_actions(driver: Driver, update: ModelUpdate) -> list[Write]:
    """Actions that record what a driver says of a volume that is new on its backend."""
    return [*model_actions(update), Volume.shared_targets.set(driver.capabilities.shared_targets)]


def model_actions(update: ModelUpdate) -> list[Write]:
    """Actions that record what a driver says of its volume."""
    return [getattr(Volume, name).set(update[name]) for name in MODEL_FIELDS if update.get(name) is not None]


def _placed(payload: Payload) -> Volume:
    """The volume, while it is ours and on the pool that this execution placed it on."""
    volume = owned(Volume, payload)
    if volume.host != payload['placed']['host']:
        raise base.state_changed(volume)
    return volume


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


def _complete(volume: Volume, payload: Payload, actions: list[Write]) -> None:
    """Make the volume available, or hand it over to the restore or the image that it is made for."""
    if volume.backup_id:
        _hand_over(volume, payload, actions)
    elif 'image_id' in volume.operation_facts():
        _download(volume, payload, actions)
    else:
        holds.end(volume, ours(volume), workflows.VOLUME['create'].done, actions=actions)
        groups.settle_group_of(volume)
    telemetry.count('CandidatesTried', 1 + len(volume.operation_facts().get('attempted', [])))


def _download(volume: Volume, payload: Payload, actions: list[Write]) -> None:
    """Begin to write the image to the volume."""
    row = workflows.VOLUME['download']
    operation = common.operation(row, image_id=volume.operation_facts()['image_id'], new=True)
    holds.pass_on(volume, ours(volume), [*base.begin_actions(Volume, row, payload['request_id'], operation), *actions])
    common.enqueue(volume, 'download', payload['request_id'])


def _hand_over(volume: Volume, payload: Payload, actions: list[Write]) -> None:
    """Begin the restore of the backup that the volume is made from; both records change together."""
    backup = _backup(volume)
    volume_row, backup_row = workflows.VOLUME['restore'], workflows.BACKUP['restore']
    operation = common.operation(volume_row, backup_id=backup.id, backup_project_id=backup.project_id, new=True)
    backup_actions = [
        *base.begin_actions(Backup, backup_row, payload['request_id'], common.operation(backup_row)),
        Backup.restore_volume_id.set(volume.id),
    ]
    begun = Volume.progress.set(progress.begun(int(backup.size)))
    free = base.is_allowed(Backup, backup_row) | backup_holds.is_awaited(volume, payload['request_id'])
    busy = errors.InvalidBackup(reason=f'Backup {backup.id} is no longer available')
    holds.pass_on(
        volume,
        ours(volume),
        [*base.begin_actions(Volume, volume_row, payload['request_id'], operation), begun, *actions],
        lambda transaction: transaction.update(backup, backup_actions, free, lambda: busy),
    )
    common.enqueue(backup, 'restore', payload['request_id'])


def _backup(volume: Volume) -> Backup:
    """The backup that the volume is made from. Raises BackupNotFound."""
    if volume.backup_id is None:
        raise errors.BackupNotFound(id='-')
    try:
        return Backup.find(volume.project_id, volume.backup_id)
    except errors.BackupNotFound:
        return Backup.find_anywhere(volume.backup_id)


def reschedule(payload: Payload) -> dict[str, str]:
    """Undo the attempt on the pool that failed, give its claim back, and claim the next candidate."""
    host = payload['placed']['host']
    try:
        volume = owned(Volume, payload)
    except errors.StateChanged:
        _remove_unwanted(payload)
        raise
    if volume.host == host:
        return {'host': _next(volume, _undone(volume, *failure(payload)))}
    return {'host': volume.host or placement.place(volume, ours(volume))}


def _next(volume: Volume, leaving: holds.Retreat) -> str:
    """Claim room on the next candidate and leave the one that failed; NoValidBackend with none left, having left it."""
    held = ours(volume)
    volume.operation = leaving.operation
    try:
        return placement.place(volume, held, leaving)
    except errors.NoValidBackend:
        # The refusal put its explanation on the operation: the message of fail_create shows it.
        holds.retreat(volume, held, leaving._replace(operation=volume.operation_facts() or leaving.operation))
        raise


def _undone(volume: Volume, error: str, reason: str) -> holds.Retreat:
    """Remove what the attempt may have left, as far as the backend lets us; what its record and pool are to say."""
    removed = _removed(str(volume.host), backends.volume_ref(volume))
    leftover = not removed or not _is_answer(error)
    operation = volume.operation_facts()
    attempt = {'host': volume.host, 'error': error, 'reason': reason[:300]}
    attempted = [*operation.get('attempted', []), attempt]
    return holds.Retreat({**operation, 'attempted': attempted}, leftover)


def _is_answer(error: str) -> bool:
    """Return whether the backend said that it failed; a worker that was cut off may have left it working."""
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
        holds.remember_leftover(host, payload['project_id'], payload['id'])


def fail_create(payload: Payload) -> None:
    """Say why there is no volume, and let go of all that it holds but its quota, which its removal gives back."""
    volume = owned(Volume, payload)
    error, reason = failure(payload)
    if volume.host:
        holds.retreat(volume, ours(volume), _undone(volume, error, reason))
        volume = owned(Volume, payload)
    action, detail = _MESSAGES.get(error, _FAILED_TO_CREATE)
    messages.create(volume, payload['request_id'], action, detail, cause=reason, error=error)
    with contextlib.suppress(errors.BackupNotFound):
        backup_holds.end_waiting(_backup(volume), volume, payload['request_id'])
    holds.end(volume, ours(volume), workflows.VOLUME['create'].failed)
    groups.settle_group_of(volume)


_FAILED_TO_CREATE = (Action.CREATE_VOLUME_FROM_BACKEND, Detail.DRIVER_FAILED_CREATE)
_MESSAGES: Mapping[str, tuple[Action, Detail]] = {
    'NoValidBackend': (Action.SCHEDULE_ALLOCATE_VOLUME, Detail.NO_BACKEND_AVAILABLE),
}
