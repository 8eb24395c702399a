"""Which machine does what, and how its executions are named: shared by those who start them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.rules import states

#: Resource -> its rows.
ROWS: Mapping[str, Mapping[str, states.Transition]] = {
    'volume': states.VOLUME,
    'snapshot': {**states.SNAPSHOT, **states.GROUPED_SNAPSHOT},
    'backup': states.BACKUP,
    'group': states.GROUP,
    'group_snapshot': states.GROUP_SNAPSHOT,
}

#: What a message, and so an execution's input, must hold.
KEYS = ('action', 'resource', 'project_id', 'id', 'request_id')


class Failure(NamedTuple):
    """How a machine's work is given up: the task that records it, and the worker that runs it."""

    task: str
    worker: str = 'volume'

    @property
    def function(self) -> str:
        return settings().backup_worker if self.worker == 'backup' else settings().volume_worker


#: Machine -> what its last state does when all else failed.
FAILURES: Mapping[str, Failure] = {
    'create_volume': Failure('fail_create'),
    'delete_volume': Failure('fail_delete'),
    'extend_volume': Failure('fail_extend'),
    'create_snapshot': Failure('fail_create_snapshot'),
    'delete_snapshot': Failure('fail_delete_snapshot'),
    'revert_to_snapshot': Failure('fail_revert'),
    'move_volume': Failure('fail_move'),
    'manage_volume': Failure('fail_manage_volume'),
    'unmanage_volume': Failure('fail_unmanage_volume'),
    'manage_snapshot': Failure('fail_manage_snapshot'),
    'unmanage_snapshot': Failure('fail_unmanage_snapshot'),
    'create_group': Failure('fail_create_group'),
    'delete_group': Failure('fail_delete_group'),
    'create_group_snapshot': Failure('fail_create_group_snapshot'),
    'delete_group_snapshot': Failure('fail_delete_group_snapshot'),
    'backup_volume': Failure('fail_backup', 'backup'),
    'import_backup': Failure('fail_import_backup', 'backup'),
    'restore_backup': Failure('fail_restore', 'backup'),
    'delete_backup': Failure('fail_delete_backup', 'backup'),
    'copy_backup': Failure('fail_copy', 'backup'),
    'scrub_backup': Failure('fail_scrub', 'backup'),
    'drill_backup': Failure('fail_drill', 'backup'),
    'download_image': Failure('fail_download', 'backup'),
    'upload_image': Failure('fail_upload', 'backup'),
}


def row(message: Mapping[str, str]) -> states.Transition:
    """Return the row of a message's action; raises KeyError for a message that makes no sense."""
    found = ROWS[message['resource']][message['action']]
    if not found.machine:
        raise KeyError(f'no machine does {message["action"]} of a {message["resource"]}')
    return found


def name(message: Mapping[str, str], attempt: int = 0) -> str:
    """Return the name of one run of a message's work; a later attempt gets another name, as names stay taken."""
    request = message['request_id'] if attempt == 0 else f'{message["request_id"]}/{attempt}'
    return aws.execution_name(message['action'], message['id'], request)


def start(message: Mapping[str, str], attempt: int = 0) -> str:
    """Start the machine of a message, or find it started; return the execution's ARN."""
    execution = name(message, attempt)
    payload = {**{key: message[key] for key in KEYS}, 'execution': execution}
    return aws.start_workflow(row(message).machine, execution, payload)


def status(message: Mapping[str, str], attempt: int = 0) -> str | None:
    """Return the status of one run of a message's work; None when it was never started."""
    return aws.execution_status(aws.execution_arn(row(message).machine, name(message, attempt)))
