"""Workflows: each action on a resource that takes a status of its own, and the state machine that does the work.

A row names the statuses that the action starts from, the statuses while it runs and when it ends, when the reconciler
takes over, and what the work waits for. Everything else that knows a workflow is derived from these rows: the table of
tasks, the reconciler's choice, the functions in the rendered state machines, and docs/reference/workflows.md. The guide
is docs/how-to/add-a-workflow.md.

Source: the compare-and-set calls of Cinder 29's API and managers (measured matrices).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal, NamedTuple

from chalicelib.rules.states import (
    BACKUP_STATUSES,
    DELETABLE,
    ERROR_MANAGING,
    GROUP_STATUSES,
    PREVIOUS,
    REMOVED,
    SNAPSHOT_STATUSES,
    VOLUME_STATUSES,
)

#: The functions that run tasks: only they reach backends, and only the second has what reads and writes backups.
Worker = Literal['volume_worker', 'backup_worker']


class StateMachine(NamedTuple):
    """A file of stepfunctions/, and where its tasks are.

    ``module`` of tasks/ has a function for each of ``tasks``, the states that ``worker`` runs; a state that another
    worker runs names it in the file. ``failure`` is the task that records a failure when nothing else can.
    """

    name: str
    worker: Worker
    module: str
    tasks: tuple[str, ...]
    failure: str


def _machine(name: str, worker: Worker, module: str, tasks: str, failure: str) -> StateMachine:
    return StateMachine(name, worker, module, (*tasks.split(), failure), failure)


#: Name -> state machine.
MACHINES: Mapping[str, StateMachine] = {
    machine.name: machine
    for machine in (
        _machine('create_volume', 'volume_worker', 'create_volume', 'schedule provision reschedule', 'fail_create'),
        _machine('delete_volume', 'volume_worker', 'delete_volume', 'delete_volume cancel_delete', 'fail_delete'),
        _machine('extend_volume', 'volume_worker', 'extend_volume', 'extend_volume cancel_extend', 'fail_extend'),
        _machine('create_snapshot', 'volume_worker', 'snapshots', 'create_snapshot', 'fail_create_snapshot'),
        _machine(
            'delete_snapshot', 'volume_worker', 'snapshots', 'delete_snapshot cancel_delete_snapshot',
            'fail_delete_snapshot',
        ),
        _machine(
            'revert_to_snapshot', 'volume_worker', 'revert_to_snapshot', 'revert_to_snapshot complete_revert',
            'fail_revert',
        ),
        _machine(
            'move_volume', 'volume_worker', 'move_volume',
            'plan_move prepare_target copy_volume complete_move abandon_move', 'fail_move',
        ),
        _machine('manage_volume', 'volume_worker', 'managing', 'manage_volume', 'fail_manage_volume'),
        _machine('unmanage_volume', 'volume_worker', 'managing', 'unmanage_volume', 'fail_unmanage_volume'),
        _machine('manage_snapshot', 'volume_worker', 'managing', 'manage_snapshot', 'fail_manage_snapshot'),
        _machine('unmanage_snapshot', 'volume_worker', 'managing', 'unmanage_snapshot', 'fail_unmanage_snapshot'),
        _machine('create_group', 'volume_worker', 'groups', 'create_group', 'fail_create_group'),
        _machine('delete_group', 'volume_worker', 'groups', 'delete_group', 'fail_delete_group'),
        _machine(
            'create_group_snapshot', 'volume_worker', 'group_snapshots', 'create_group_snapshot',
            'fail_create_group_snapshot',
        ),
        _machine(
            'delete_group_snapshot', 'volume_worker', 'group_snapshots', 'delete_group_snapshot',
            'fail_delete_group_snapshot',
        ),
        _machine(
            'backup_volume', 'backup_worker', 'backups', 'open_backup copy_range complete_backup close_backup',
            'fail_backup',
        ),
        _machine(
            'restore_backup', 'backup_worker', 'restores', 'open_restore restore_range complete_restore close_restore',
            'fail_restore',
        ),
        _machine(
            'delete_backup', 'backup_worker', 'backup_removal', 'delete_manifest delete_backup collect_backup',
            'fail_delete_backup',
        ),
        _machine('copy_backup', 'backup_worker', 'backup_copies', 'copy_backup complete_copy', 'fail_copy'),
        _machine('import_backup', 'backup_worker', 'backup_imports', 'import_backup', 'fail_import_backup'),
        _machine('scrub_backup', 'backup_worker', 'backup_checks', 'scrub_backup complete_scrub', 'fail_scrub'),
        _machine(
            'drill_backup', 'backup_worker', 'backup_checks',
            'restore_scratch finish_scratch compare_scratch complete_drill abandon_drill', 'fail_drill',
        ),
        _machine(
            'download_image', 'backup_worker', 'images', 'open_image copy_image complete_download', 'fail_download',
        ),
        _machine('upload_image', 'backup_worker', 'images', 'upload_image complete_upload', 'fail_upload'),
    )
}  # fmt: skip

#: Module -> tasks of the other worker in some of these machines, and those that the API or a schedule waits for.
OTHER_TASKS: Mapping[str, tuple[str, ...]] = {
    'scratch': ('prepare_scratch',),
    'compute': ('notify_compute', 'fail_notify_compute'),
    'managing': ('get_manageable',),
    'connections': ('initialize_attachment', 'initialize_connection', 'terminate_connection'),
    'report_pools': ('report_backend',),
    'backend_reconciliation': ('reconcile_backend',),
}

#: Task -> the module of tasks/ that has it.
TASKS: Mapping[str, str] = {
    **{task: machine.module for machine in MACHINES.values() for task in machine.tasks},
    **{task: module for module, tasks in OTHER_TASKS.items() for task in tasks},
}


class WaitsFor(enum.Enum):
    """What ends a running status, and so what the reconciler looks at when the status is overdue."""

    EXECUTION = 'its own state machine'
    VOLUME = 'the work on the volume that its operation names'
    BACKUP = 'the work on the backup that its operation names'
    DRILL = 'the drill of the backup that its operation names'
    MEMBERS = 'the volumes of the group; its own state machine when it has none'
    GROUP_SNAPSHOT = 'the group snapshot, which the reconciler follows'
    CLIENT = 'a client or server, as in Cinder; the reconciler leaves it alone'


class Workflow(NamedTuple):
    """One action on one resource. ``deadline``: seconds until the reconciler looks whether the work runs.

    ``allowed``: the statuses that the action starts from; empty for an action that makes the record. ``done`` and
    ``failed`` may be PREVIOUS or REMOVED. ``machine``: None where other work ends the status.
    """

    resource: str
    action: str
    allowed: frozenset[str]
    running: str
    done: str
    failed: str
    deadline: int
    machine: StateMachine | None
    waits_for: WaitsFor


class _Row(NamedTuple):
    """A workflow without its resource and action; statuses that it starts from are words in one text."""

    allowed: str
    running: str
    done: str
    failed: str
    deadline: int = 0
    machine: str = ''
    waits_for: WaitsFor = WaitsFor.EXECUTION


def _table(resource: str, rows: Mapping[str, _Row]) -> Mapping[str, Workflow]:
    return {
        action: Workflow(
            resource, action, frozenset(row.allowed.split()), *row[1:5], MACHINES.get(row.machine), row.waits_for
        )
        for action, row in rows.items()
    }


_ANY_VOLUME, _ANY_SNAPSHOT = ' '.join(VOLUME_STATUSES), ' '.join(SNAPSHOT_STATUSES)
_ANY_BACKUP, _ANY_GROUP = ' '.join(BACKUP_STATUSES), ' '.join(GROUP_STATUSES)
_DELETABLE = ' '.join(status for status in DELETABLE if status != ERROR_MANAGING)

VOLUME = _table('volume', {
    'create': _Row('', 'creating', 'available', 'error', 900, 'create_volume'),
    'delete': _Row(_DELETABLE, 'deleting', REMOVED, 'error_deleting', 900, 'delete_volume'),
    'force_delete': _Row(_ANY_VOLUME, 'deleting', REMOVED, 'error_deleting', 900, 'delete_volume'),
    'extend': _Row('available', 'extending', 'available', 'error_extending', 900, 'extend_volume'),
    'extend_attached': _Row('in-use', 'extending', 'in-use', 'error_extending', 900, 'extend_volume'),
    # An extension that was given up while its backend carried it out, or a backend that lost it.
    'finish_extend': _Row(
        'available in-use error_extending', 'extending', PREVIOUS, 'error_extending', 900, 'extend_volume',
    ),
    'reserve': _Row('available', 'attaching', 'in-use', 'available', waits_for=WaitsFor.CLIENT),
    'reserve_multiattach': _Row('available in-use', 'attaching', 'in-use', 'available', waits_for=WaitsFor.CLIENT),
    'begin_detaching': _Row('in-use', 'detaching', 'available', 'in-use', waits_for=WaitsFor.CLIENT),
    'backup': _Row('available', 'backing-up', PREVIOUS, PREVIOUS, 900, 'backup_volume', WaitsFor.BACKUP),
    'backup_attached': _Row(
        'available in-use', 'backing-up', PREVIOUS, PREVIOUS, 900, 'backup_volume', WaitsFor.BACKUP,
    ),
    'restore': _Row(
        'available', 'restoring-backup', 'available', 'error_restoring', 3600, 'restore_backup', WaitsFor.BACKUP,
    ),
    # It lasts until the offer is accepted or withdrawn.
    'transfer': _Row('available', 'awaiting-transfer', 'available', 'available', waits_for=WaitsFor.CLIENT),
    'revert': _Row('available', 'reverting', 'available', 'error', 3600, 'revert_to_snapshot'),
    'retype': _Row('available in-use', 'retyping', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate': _Row('available', 'available', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate_attached': _Row('in-use', 'in-use', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate_locked': _Row('available', 'maintenance', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    # Volumes that exist only while another one's data is copied to them: the target of a move, and that of a drill.
    'receive': _Row('', 'creating', REMOVED, REMOVED, 3600, waits_for=WaitsFor.VOLUME),
    'drill': _Row('', 'creating', REMOVED, REMOVED, 3600, waits_for=WaitsFor.DRILL),
    'manage': _Row('', 'managing', 'available', 'error_managing', 900, 'manage_volume'),
    'unmanage': _Row(_DELETABLE, 'unmanaging', REMOVED, 'error_unmanaging', 900, 'unmanage_volume'),
    # A volume that was never brought under management keeps its object, whether it is deleted or unmanaged.
    'drop_managed': _Row(
        'error_managing', 'error_managing_deleting', REMOVED, 'error_managing', 900, 'unmanage_volume',
    ),
    'download': _Row('', 'downloading', 'available', 'error', 3600, 'download_image'),
    'reimage': _Row('available error', 'downloading', 'available', 'error', 3600, 'download_image'),
    'reimage_reserved': _Row('available error reserved', 'downloading', PREVIOUS, 'error', 3600, 'download_image'),
    'upload': _Row('available', 'uploading', PREVIOUS, PREVIOUS, 3600, 'upload_image'),
})  # fmt: skip

SNAPSHOT = _table('snapshot', {
    'create': _Row('', 'creating', 'available', 'error', 900, 'create_snapshot'),
    'delete': _Row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot'),
    'force_delete': _Row(_ANY_SNAPSHOT, 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot'),
    # In a cascade: what an earlier one could not remove is tried again. A snapshot that outlives the volume's work is
    # removed by its own state machine.
    'delete_with_volume': _Row(
        'available error error_deleting', 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot',
        WaitsFor.VOLUME,
    ),
    'backup': _Row('available', 'backing-up', 'available', 'available', 3600, 'backup_volume', WaitsFor.BACKUP),
    'restore': _Row('available', 'restoring', 'available', 'available', 3600, 'revert_to_snapshot', WaitsFor.VOLUME),
    'manage': _Row('', 'creating', 'available', 'error', 900, 'manage_snapshot'),
    'unmanage': _Row('available error', 'unmanaging', REMOVED, 'error', 900, 'unmanage_snapshot'),
    # What group snapshots do with their snapshots.
    'create_in_group': _Row('', 'creating', 'available', 'error', waits_for=WaitsFor.GROUP_SNAPSHOT),
    'delete_in_group': _Row(
        'available error error_deleting', 'deleting', REMOVED, 'error_deleting', waits_for=WaitsFor.GROUP_SNAPSHOT,
    ),
})  # fmt: skip

BACKUP = _table('backup', {
    'create': _Row('', 'creating', 'available', 'error', 21600, 'backup_volume'),
    'import': _Row('', 'creating', 'available', 'error', 900, 'import_backup'),
    'copy': _Row('', 'creating', 'available', 'error', 21600, 'copy_backup'),
    # A copy that exists is completed: by the key of its encrypted volume, which older releases did not store.
    'copy_again': _Row('available', 'available', 'available', 'available', 21600, 'copy_backup'),
    'restore': _Row('available', 'restoring', 'available', 'available', 21600, 'restore_backup'),
    # The volume to restore to is being made; the restore follows.
    'await_volume': _Row('available', 'restoring', 'available', 'available', 60, waits_for=WaitsFor.VOLUME),
    # Checks read only: the backup stays available, and a restore or deletion of it ends them.
    'scrub': _Row('available', 'available', 'available', 'available', 21600, 'scrub_backup'),
    'drill': _Row('available', 'available', 'available', 'available', 21600, 'drill_backup'),
    'delete': _Row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_backup'),
    'force_delete': _Row(_ANY_BACKUP, 'deleting', REMOVED, 'error_deleting', 900, 'delete_backup'),
})  # fmt: skip

GROUP = _table('group', {
    'create': _Row('', 'creating', 'available', 'error', 900, 'create_group'),
    # Ends when the last of its volumes is done (operations/groups.py).
    'create_from_src': _Row('', 'creating', 'available', 'error', 900, waits_for=WaitsFor.MEMBERS),
    'delete': _Row('available error', 'deleting', REMOVED, 'error', 900, 'delete_group'),
    'delete_with_volumes': _Row(_ANY_GROUP, 'deleting', REMOVED, 'error', 900, 'delete_group', WaitsFor.MEMBERS),
})  # fmt: skip

GROUP_SNAPSHOT = _table('group_snapshot', {
    'create': _Row('', 'creating', 'available', 'error', 900, 'create_group_snapshot'),
    'delete': _Row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_group_snapshot'),
})  # fmt: skip

#: Resource -> action -> workflow.
WORKFLOWS: Mapping[str, Mapping[str, Workflow]] = {
    'volume': VOLUME, 'snapshot': SNAPSHOT, 'backup': BACKUP, 'group': GROUP, 'group_snapshot': GROUP_SNAPSHOT,
}  # fmt: skip
