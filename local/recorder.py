"""Which function makes which AWS call: noted where the SDK prepares it, for the test of infra/roles.yaml.

``RECORD_CALLS`` names a folder; each process appends what is new to a file of its own there, so that what a killed
process did is known too. The function is read off the stack: from the call outwards, the first frame that is a
function's entry. A thread belongs to the function that started it. What moto does to play AWS is nobody's call.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.settings import ACCOUNT, REGION
from local.workers import workers_of

ROOT = str(Path(__file__).parent.parent)

#: Where a function's own code begins: (file, function in it) -> name.
ENTRIES = {
    ('chalicelib/api/front_door.py', 'serve'): 'api',
    ('chalicelib/api/front_door.py', 'guarded'): 'api',
    ('chalicelib/tasks/start.py', 'run'): 'start_workflow',
    ('chalicelib/tasks/reconcile.py', 'run'): 'reconcile',
    ('chalicelib/tasks/report_pools.py', 'run'): 'report_pools',
    ('chalicelib/tasks/schedules.py', 'run'): 'backup_schedules',
}

#: The entry of both workers; its event names the task.
TASK = ('chalicelib/tasks/__init__.py', 'run')

#: Rooms that only workers enter: their tests call them without an entry.
ROOMS = {
    'chalicelib/drivers/': ('volume_worker', 'backup_worker'),
    'chalicelib/backup/': ('backup_worker',),
}

#: Files that call back whoever acts in the middle of a function's work: tests add their doubles.
OTHERS: set[str] = set()

#: The actions that IAM knows under another name than the API, and operations that are several.
ACTIONS = {
    's3:HeadObject': ('s3:GetObject',),
    's3:ListObjectsV2': ('s3:ListBucket',),
    's3:ListObjects': ('s3:ListBucket',),
    's3:HeadBucket': ('s3:ListBucket',),
    's3:DeleteObjects': ('s3:DeleteObject',),
    's3:CopyObject': ('s3:GetObject', 's3:PutObject'),
    's3:CreateMultipartUpload': ('s3:PutObject',),
    's3:UploadPart': ('s3:PutObject',),
    's3:CompleteMultipartUpload': ('s3:PutObject',),
    's3:GetBucketObjectLockConfiguration': ('s3:GetBucketObjectLockConfiguration',),
    'lambda:Invoke': ('lambda:InvokeFunction',),
    'sqs:SendMessageBatch': ('sqs:SendMessage',),
    'sqs:DeleteMessageBatch': ('sqs:DeleteMessage',),
}

#: botocore's name of a service, where IAM has another.
PREFIXES = {'sfn': 'states', 'secrets-manager': 'secretsmanager', 'eventbridge': 'events'}

#: Verbs of TransactWriteItems and BatchWriteItem, as permissions.
_VERBS = {
    'Put': 'PutItem',
    'Update': 'UpdateItem',
    'Delete': 'DeleteItem',
    'ConditionCheck': 'ConditionCheckItem',
    'Get': 'GetItem',
}


def install(folder: Path, *, everything: bool = True) -> None:
    """Record in this process from here on. Without ``everything`` only calls whose resources tests do not invent."""
    folder.mkdir(parents=True, exist_ok=True)
    notes = _Notes(folder / f'{os.getpid()}.jsonl', everything)
    from botocore.handlers import BUILTIN_HANDLERS

    BUILTIN_HANDLERS.append(('provide-client-params', notes.hear))
    _installed.append(notes)
    _hear_of_documents(notes)
    start = threading.Thread.start

    def start_and_inherit(thread: threading.Thread) -> None:
        thread.cinderless_functions = callers()  # type: ignore[attr-defined]
        start(thread)

    threading.Thread.start = start_and_inherit  # type: ignore[method-assign,assignment]


def heard(service: str, operation: str, **params: Any) -> None:
    """Note a call that a test's double stands for."""
    for notes in _installed:
        notes.note(service, operation, params)


_installed: list[_Notes] = []


def _hear_of_documents(notes: _Notes) -> None:
    """A document that another function of this process has read needs permission all the same: on AWS none shares."""
    from chalicelib import aws

    cached = aws._cached
    asked = {'ssm': ('ssm', 'GetParameter', 'Name'), 'secret': ('secrets-manager', 'GetSecretValue', 'SecretId')}

    def cached_and_noted(key: str, read: Any) -> str:
        kind, _, name = key.partition(':')
        service, operation, parameter = asked[kind]
        if notes.everything:
            notes.note(service, operation, {parameter: name})
        return cached(key, read)

    aws._cached = cached_and_noted


class _Notes:
    """What was heard, each thing once."""

    def __init__(self, path: Path, everything: bool) -> None:
        self._path, self.everything = path, everything
        self._known: set[tuple[str, str, str]] = set()

    def hear(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        service = str(model.service_model.service_id.hyphenize())
        if self.everything or service in {'dynamodb', 'ec2', 'ebs', 'kms', 's3'}:
            self.note(service, str(model.name), params)

    def note(self, service: str, operation: str, params: dict[str, Any]) -> None:
        for function in callers():
            for action, resource in permissions(service, operation, params):
                self._write((function, action, resource))

    def _write(self, call: tuple[str, str, str]) -> None:
        if call not in self._known:
            self._known.add(call)
            with self._path.open('a', encoding='utf-8') as file:
                file.write(json.dumps(call) + '\n')


def callers() -> tuple[str, ...]:
    """The functions on whose behalf this code runs, () for none."""
    frame: types.FrameType | None = sys._getframe(1)
    room: tuple[str, ...] = ()
    while frame is not None:
        path = _place(frame.f_code.co_filename)
        if path == 'moto':
            return ()
        if path in OTHERS or path.rpartition('/')[2].startswith('test_'):
            break  # a test acts in the middle of a function's work, or enters a room by itself
        entry = (path, frame.f_code.co_name)
        if entry in ENTRIES:
            return (ENTRIES[entry],)
        if entry == TASK:
            return workers_of(str(frame.f_locals['event'].get('task')))
        room = room or _room(path)
        frame = frame.f_back
    return getattr(threading.current_thread(), 'cinderless_functions', ()) or room


@functools.cache
def _place(filename: str) -> str:
    """A file's path in the project, 'moto' for any of moto's, else ''."""
    if '/moto/' in filename:
        return 'moto'
    return filename.removeprefix(ROOT + '/') if filename.startswith(ROOT) else ''


@functools.cache
def _room(path: str) -> tuple[str, ...]:
    return next((functions for room, functions in ROOMS.items() if path.startswith(room)), ())


def permissions(service: str, operation: str, params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(action, resource) pairs that IAM asks for one call. Names of tests' own buckets and keys do not matter."""
    if service == 'dynamodb':
        return _dynamodb(operation, params)
    prefix = PREFIXES.get(service, service)
    actions = ACTIONS.get(f'{prefix}:{operation}', (f'{prefix}:{operation}',))
    if service == 'ec2' and params.get('TagSpecifications'):
        actions = (*actions, 'ec2:CreateTags')
    return [(action, resource) for action in actions for resource in _resources(prefix, action, params)]


def _dynamodb(operation: str, params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for item in params.get('TransactItems', ()):
        for verb, facts in item.items():
            yield f'dynamodb:{_VERBS[verb]}', _table(facts['TableName'])
    for table, wanted in params.get('RequestItems', {}).items():
        yield f'dynamodb:{operation}', _table(table)
        del wanted
    if 'TableName' in params:
        index = f'/index/{params["IndexName"]}' if 'IndexName' in params else ''
        yield f'dynamodb:{operation}', _table(params['TableName']) + index


def _table(name: str) -> str:
    return f'arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}'


def _resources(prefix: str, action: str, params: dict[str, Any]) -> list[str]:
    place = f'{REGION}:{ACCOUNT}'
    match prefix:
        case 's3':
            return ['arn:aws:s3:::backups' if 'Bucket' in action.removeprefix('s3:') else 'arn:aws:s3:::backups/object']
        case 'kms':
            return [f'arn:aws:kms:{place}:key/Key']
        case 'sqs':
            return [f'arn:aws:sqs:{place}:{params["QueueUrl"].rpartition("/")[2]}']
        case 'lambda':
            return [f'arn:aws:lambda:{place}:function:{params["FunctionName"].rpartition(":")[2]}']
        case 'ssm':
            return [f'arn:aws:ssm:{place}:parameter{params.get("Name", params.get("Path", ""))}']
        case 'secretsmanager':
            return [f'arn:aws:secretsmanager:{place}:secret:{params["SecretId"]}-abcdef']
        case 'states':
            return [str(params.get('stateMachineArn') or params.get('executionArn'))]
        case 'events':
            return sorted({f'arn:aws:events:{place}:event-bus/{_bus(entry)}' for entry in params['Entries']})
        case 'ec2' | 'ebs':
            return ['*' if action.startswith('ec2:Describe') else f'{prefix}-resource']
    return ['*']


def _bus(entry: dict[str, Any]) -> str:
    return str(entry.get('EventBusName', 'default')).rpartition('/')[2]
