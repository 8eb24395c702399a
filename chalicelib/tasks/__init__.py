"""The work itself: one function per state of a machine, and the synchronous tasks that the API waits for.

A state ``CopyRange`` runs the task ``copy_range``. The event is ``{'task': name, 'input': {...}}``; the input carries
ids, never records or secrets. Every task may run twice, late, or beside itself: it first looks whether its request
still owns the record, and its writes are conditions on that.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from chalicelib import errors, telemetry, time_left
from chalicelib.tasks import clock

logger = logging.getLogger(__name__)

#: Module -> its tasks.
_MODULES: Mapping[str, tuple[str, ...]] = {
    'create_volume': ('schedule', 'provision', 'reschedule', 'fail_create'),
    'delete_volume': ('delete_volume', 'cancel_delete', 'fail_delete'),
    'extend_volume': ('extend_volume', 'cancel_extend', 'fail_extend'),
    'snapshots': (
        'create_snapshot',
        'fail_create_snapshot',
        'delete_snapshot',
        'cancel_delete_snapshot',
        'fail_delete_snapshot',
    ),
    'revert_to_snapshot': ('revert_to_snapshot', 'complete_revert', 'fail_revert'),
    'move_volume': ('plan_move', 'prepare_target', 'copy_volume', 'complete_move', 'fail_move', 'abandon_move'),
    'managing': (
        'manage_volume',
        'fail_manage_volume',
        'unmanage_volume',
        'fail_unmanage_volume',
        'manage_snapshot',
        'fail_manage_snapshot',
        'unmanage_snapshot',
        'fail_unmanage_snapshot',
        'get_manageable',
    ),
    'groups': ('create_group', 'fail_create_group', 'delete_group', 'fail_delete_group'),
    'group_snapshots': (
        'create_group_snapshot',
        'fail_create_group_snapshot',
        'delete_group_snapshot',
        'fail_delete_group_snapshot',
    ),
    'backups': ('open_backup', 'copy_range', 'complete_backup', 'close_backup', 'fail_backup'),
    'backup_checks': (
        'scrub_backup',
        'complete_scrub',
        'fail_scrub',
        'restore_scratch',
        'finish_scratch',
        'compare_scratch',
        'complete_drill',
        'fail_drill',
        'abandon_drill',
    ),
    'scratch': ('prepare_scratch',),
    'backup_copies': ('copy_backup', 'complete_copy', 'fail_copy'),
    'backup_imports': ('import_backup', 'fail_import_backup'),
    'backup_removal': ('delete_manifest', 'delete_backup', 'collect_backup', 'fail_delete_backup'),
    'restores': ('open_restore', 'restore_range', 'complete_restore', 'close_restore', 'fail_restore'),
    'images': (
        'open_image',
        'copy_image',
        'complete_download',
        'fail_download',
        'upload_image',
        'complete_upload',
        'fail_upload',
    ),
    'compute': ('notify_compute', 'fail_notify_compute'),
    'connections': ('initialize_attachment', 'initialize_connection', 'terminate_connection'),
    'report_pools': ('report_backend',),
    'backend_reconciliation': ('reconcile_backend',),
}

#: Task -> the module that has it.
TASKS: Mapping[str, str] = {task: module for module, tasks in _MODULES.items() for task in tasks}


def run(event: Mapping[str, Any], context: Any) -> Any:
    """Run one task in this worker; its error leaves under its own class name, which machines catch."""
    name, payload = event['task'], event['input']
    if name not in TASKS:
        raise errors.CinderlessError(f'There is no task {name!r}; the worker is older than the state machine.')
    function = getattr(context, 'function_name', '').rpartition('-')[2] or None
    with telemetry.about(function=function, task=name, **telemetry.told(payload)), telemetry.segment(name):
        return _run(name, payload, context)


def _run(name: str, payload: Mapping[str, Any], context: Any) -> Any:
    from chalicelib.operations import volume_types
    from chalicelib.tasks import notifications  # both know the models, which start_workflow never needs

    began = time.monotonic()
    outcome = 'done'
    try:
        module = importlib.import_module(f'chalicelib.tasks.{TASKS[name]}')
        moment = payload.get('deadline')  # of the client's request, where one waits
        with (
            clock.running(context),
            time_left.until(moment),
            volume_types.reading_once(),
            notifications.around(name, payload),
        ):
            return getattr(module, name)(payload)
    except Exception as error:
        outcome = type(error).__name__
        telemetry.count('TaskErrors', error=outcome)
        raise
    finally:
        seconds = time.monotonic() - began
        if telemetry.told(payload):  # a backend's report is nobody's operation
            telemetry.count('TaskSeconds', round(seconds, 3), 'Seconds', outcome=outcome)
        logger.info('%s of %s: %s after %.3f s', name, payload.get('id'), outcome, seconds)
