"""The states of scrub_backup, and those of drill_backup that read the repository.

Payload of every task: project_id, id (of the backup), request_id; between two calls also what was found so far.
"""

from __future__ import annotations

import functools
from typing import Any

from chalicelib import telemetry
from chalicelib.backup import engine
from chalicelib.operations import backup_checks, messages
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, backup_data, backup_keys, function_time, scratch
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.restores import restorer
from chalicelib.tasks.work import BackupWork, Payload, fail_reason, failure

#: Where work on all shards of a backup begins.
START = {'done': False, 'shard': 0, 'cursor': None}

#: Errors that mean that a backup's data is damaged or missing.
DAMAGE = ('IntegrityError', 'ObjectMissing')


def scrub_backup(payload: Payload) -> dict[str, Any]:
    """Read and prove blocks from the cursor on, until all are seen or time runs short."""
    backup = BackupWork.take(payload, 'scrub').record
    before = payload.get('scrubbed') or backup_checks.counted()
    found = engine.verify_backup(
        backup_data.repository(backup),
        backup_data.manifest_of(backup),
        seconds_left=function_time.seconds_left,
        cursor=before.get('cursor'),
        sample=int((backup.operation or {})['sample']),
        limits=backup_data.limits(),
    )
    counts = backup_checks.added(before, found.checked, found.damaged, found.damage)
    return {**counts, 'done': found.done, 'cursor': found.cursor}


def complete_scrub(payload: Payload) -> None:
    """Check the key of an encrypted volume, and note what was found."""
    backup = BackupWork.take(payload, 'scrub').record
    key, damage = backup_keys.check(backup, backup_data.manifest_of(backup))
    found = payload['scrubbed']
    result, facts = backup_checks.verdict({**found, **backup_checks.added(found, 0, len(damage), damage)})
    if key is not None:
        facts['key'] = key
    telemetry.count('DamagedBlocks', facts['blocks_damaged'])
    if result == backup_checks.DAMAGED:
        telemetry.needs_attention('damage')
    backup_checks.end(backup, 'scrub', result, sample=(backup.operation or {})['sample'], **facts)


def fail_scrub(payload: Payload) -> None:
    """Note why it could not be carried out; a manifest that is gone or damaged is damage."""
    backup = BackupWork.take(payload, 'scrub').record
    sample = (backup.operation or {})['sample']
    backup_checks.end(backup, 'scrub', _result_of(payload), sample=sample, reason=fail_reason(payload))


def _result_of(payload: Payload) -> str:
    if failure(payload)[0] not in DAMAGE:
        return backup_checks.FAILED
    telemetry.count('DamagedBlocks')
    telemetry.needs_attention('damage')
    return backup_checks.DAMAGED


def restore_scratch(payload: Payload) -> dict[str, Any]:
    """Verify and write shards from the cursor on, until all are done or time runs short."""
    backup, volume = BackupWork.take(payload, 'drill').record, scratch.take(payload).record
    manifest, store = backup_data.manifest_of(backup), backup_data.repository(backup)
    driver = backends.driver(volume)
    zeroed = not driver.capabilities.opens_volumes or driver.capabilities.zeroed_volumes
    with driver.open_restore(backends.volume_ref(volume), volume.id) as device:
        work = restorer(device, store, manifest, zeroed)
        return backup_data.shard_by_shard(_all(manifest, payload.get('restored')), work)


def _all(manifest: engine.Manifest, progress: Any) -> dict[str, Any]:
    """The whole backup as one range of shards."""
    return {'last': len(manifest.shards) - 1, 'progress': progress or START}


def finish_scratch(payload: Payload) -> None:
    """Make what was written the scratch volume's data."""
    backup, target = BackupWork.take(payload, 'drill').record, scratch.take(payload)
    volume = target.record
    written = functools.partial(engine.stored_extents, backup_data.repository(backup), backup_data.manifest_of(backup))
    update = backends.driver(volume).complete_restore(backends.volume_ref(volume), volume.id, written)
    target.update(model_actions(update))


def compare_scratch(payload: Payload) -> dict[str, Any]:
    """Read the scratch volume as anybody would, and compare it with the hashes of the backup."""
    backup, volume = BackupWork.take(payload, 'drill').record, scratch.take(payload).record
    manifest, store = backup_data.manifest_of(backup), backup_data.repository(backup)
    before = payload.get('compared') or {**START, 'found': backup_checks.counted()}
    found = before['found']
    with backends.driver(volume).open_volume(backends.volume_ref(volume), volume.id, 'ro') as device:

        def compare(shard: int, cursor: Any) -> engine.VerifyResult:
            nonlocal found
            result = engine.compare_shard(
                device,
                store,
                manifest,
                shard,
                seconds_left=function_time.seconds_left,
                cursor=cursor,
                limits=backup_data.limits(),
            )
            found = backup_checks.added(found, result.checked, result.damaged, result.damage)
            return result

        progress = backup_data.shard_by_shard(_all(manifest, before), compare)
    return {**progress, 'found': found}


def complete_drill(payload: Payload) -> None:
    """Note what was found, and remove the scratch volume."""
    backup = BackupWork.take(payload, 'drill').record
    result, facts = backup_checks.verdict(payload['compared']['found'])
    if result != backup_checks.PASSED:
        cause, detail = ' '.join(facts['damage']), Detail.BACKUP_RESTORE_ERROR
        messages.create(backup, payload['request_id'], Action.BACKUP_RESTORE, detail, cause=cause)
    backup_checks.end(backup, 'drill', result, **facts)
    scratch.discard(payload)


def fail_drill(payload: Payload) -> None:
    """Note why the backup could not be restored, and remove the scratch volume."""
    work = BackupWork.take(payload, 'drill')
    work.report(Action.BACKUP_RESTORE, Detail.BACKUP_RESTORE_ERROR)
    backup_checks.end(work.record, 'drill', _result_of(payload), reason=fail_reason(payload))
    scratch.discard(payload)


def abandon_drill(payload: Payload) -> None:
    """Remove the scratch volume: the backup belongs to another request by now, or the drill is done."""
    scratch.discard(payload)
