"""Record which function makes which AWS call, where the SDK prepares it, for the test of infra/roles.yaml.

``RECORD_CALLS`` names a folder; each process appends new calls to its own file there, so that the calls of a killed
process are known too. callers.py finds the calling function from the stack.

Some calls depend on which process is first, or on concurrent requests. The recorder notes them whenever they are
possible, so that the record does not depend on timing: a process without a cached value reads it, a lost condition
makes a writer read the record again, and a key from a keys-only index makes its reader read the record.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from local import conditions
from local.callers import callers
from local.settings import ACCOUNT, REGION

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

#: Indexes that hold keys alone: what is found there is read from the table.
_KEYS_ONLY = frozenset({'by_id', 'in_flight', 'due'})

#: What a function of chalicelib.operations remembers for a while, or reads only when a condition is lost:
#: (module, function) -> (operation, tables).
REMEMBERED: Mapping[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ('quotas', 'add_reservation_to'): ('BatchGetItem', ('quotas',)),
    ('volume_types', '_remembered'): ('Query', ('volume-types',)),
    ('volume_types', 'shown_name'): ('Query', ('volume-types',)),
    ('pools', 'states'): ('Query', ('services', 'pools')),
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
    """Record a call that a test's fake replaces."""
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


def _listeners(notes: _Notes) -> dict[tuple[str, str], Callable[..., Callable[..., Any]]]:
    """(module, function) -> what to put in its place. Modules are wrapped once they are loaded: they read settings."""
    found: dict[tuple[str, str], Callable[..., Callable[..., Any]]] = {
        (f'chalicelib.operations.{module}', name): functools.partial(_noting, notes, *reads)
        for (module, name), reads in REMEMBERED.items()
    }
    writes = {
        ('chalicelib.models.base', name): functools.partial(_noting_loss, notes) for name in ('update', 'put', 'write')
    }
    return {**found, **writes}


def _noting(notes: _Notes, operation: str, tables: tuple[str, ...], ask: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(ask)
    def asked(*arguments: Any, **options: Any) -> Any:
        for table in tables:
            notes.note('dynamodb', operation, {'TableName': f'cinderless-{table}'})
        return ask(*arguments, **options)

    return asked


def _noting_loss(notes: _Notes, write: Callable[..., None]) -> Callable[..., None]:
    """A write of ``base`` whose condition is lost, or whose answer is, reads the record."""

    @functools.wraps(write)
    def written(record: Any, *arguments: Any, **options: Any) -> None:
        notes.note('dynamodb', 'GetItem', {'TableName': type(record).Meta.table_name})
        write(record, *arguments, **options)

    return written


class _Notes:
    """The recorded calls, each once."""

    def __init__(self, path: Path, everything: bool) -> None:
        self._path, self.everything = path, everything
        self._known: set[str] = set()
        self._listeners = _listeners(self)

    def hear(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        service = str(model.service_model.service_id.hyphenize())
        if self.everything or service in {'dynamodb', 'ec2', 'ebs', 'kms', 's3'}:
            self.note(service, str(model.name), params)

    def _listen(self) -> None:
        for module, name in list(self._listeners):
            if not hasattr(sys.modules.get(module), name):
                continue
            if wrap := self._listeners.pop((module, name), None):  # threads look at once
                setattr(sys.modules[module], name, wrap(getattr(sys.modules[module], name)))

    def note(self, service: str, operation: str, params: dict[str, Any]) -> None:
        self._listen()
        for function in callers():
            for action, resource, context in questions(service, operation, params):
                self._write([function, action, resource, context])

    def _write(self, call: list[Any]) -> None:
        line = json.dumps(call, sort_keys=True)
        if line not in self._known:
            self._known.add(line)
            with self._path.open('a', encoding='utf-8') as file:
                file.write(line + '\n')


def permissions(service: str, operation: str, params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield the (action, resource) pairs that IAM checks for one call, without names of tests' own buckets and keys."""
    return ((action, resource) for action, resource, _ in questions(service, operation, params))


def questions(
    service: str, operation: str, params: dict[str, Any]
) -> Iterator[tuple[str, str, conditions.Context | None]]:
    """Yield (action, resource, context) for each thing that IAM decides about one call.

    The context is None where it depends on an object that is unknown here (local/conditions.py).
    """
    prefix = PREFIXES.get(service, service)
    if service == 'dynamodb':
        yield from ((action, resource, {}) for action, resource in _dynamodb(operation, params))
    elif prefix in {'ec2', 'ebs'}:
        for action, kind, context in conditions.block_storage(prefix, operation, params):
            yield action, _object(kind) if kind else '*', context
    else:
        context = conditions.encryption(params) if prefix == 'kms' else {}
        for action in ACTIONS.get(f'{prefix}:{operation}', (f'{prefix}:{operation}',)):
            yield from ((action, resource, context) for resource in _resources(prefix, action, params))


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
        if params.get('IndexName') in _KEYS_ONLY:
            yield 'dynamodb:GetItem', _table(params['TableName'])


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
            return [conditions.sampled(str(params.get('stateMachineArn') or params.get('executionArn')))]
        case 'events':
            return sorted({f'arn:aws:events:{place}:event-bus/{_bus(entry)}' for entry in params['Entries']})
    return ['*']


def objects_of(action: str) -> tuple[str, ...]:
    """Every kind of object that an action may be about: of EC2's and EBS's that change something, else ('',)."""
    operation = action.partition(':')[2]
    if operation in {'CreateTags', 'DeleteTags'}:
        return ('volume', 'snapshot')
    if operation == 'CreateSnapshots':
        return ('instance', 'volume', 'snapshot')
    named = [parameter.removesuffix('Id').lower() for parameter in conditions.NAMED.get(operation, ())]
    kinds = [next(kind for kind in conditions.KINDS.values() if name.endswith(kind)) for name in named]
    return tuple(dict.fromkeys([*kinds, *([conditions.MADE[operation]] if operation in conditions.MADE else [])])) or (
        '',
    )


def _object(kind: str) -> str:
    """Snapshots belong to no account in their names."""
    return f'arn:aws:ec2:{REGION}:{"" if kind == "snapshot" else ACCOUNT}:{kind}/any'


def _bus(entry: dict[str, Any]) -> str:
    return str(entry.get('EventBusName', 'default')).rpartition('/')[2]
