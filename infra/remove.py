"""``cinderless remove STAGE``: delete one stack, and with ``--data`` all resources that it keeps. Idempotent.

CloudFormation deletes neither tables nor the bucket nor the key. With the stack's name in ``--data`` they are deleted:
every version of every object, then the bucket; each table; the key after 30 days. Backups under an Object Lock stay
until their lock ends, and so does the bucket.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from infra import stored_secrets
from infra.deploy import Aws, caller
from infra.stage import Refused, Stage

#: Days until a key is deleted; KMS allows 7 to 30, during which the deletion can be cancelled.
KEY_DAYS = 30

#: Objects in one DeleteObjects.
PAGE = 1000


class Kept(NamedTuple):
    """One resource that outlives its stack."""

    type: str
    name: str


def remove(stage: Stage, aws: Aws, *, data: bool) -> list[str]:
    """Delete the stack, and with ``data`` what it keeps; return what remains, one line each. Raises Refused."""
    caller(stage, aws)
    stack = identity(stage, aws)
    before = list(kept(stack, aws))
    aws.run('cloudformation', 'delete-stack', '--stack-name', stack)
    aws.run('cloudformation', 'wait', 'stack-delete-complete', '--stack-name', stack)
    stored_secrets.delete(stage.stack, aws)
    found = list(dict.fromkeys([*before, *kept(stack, aws)]))
    if not data:
        return [f'{each.type} {each.name}' for each in found]
    return [line for each in found for line in VERBS[each.type](each.name, aws)]


def identity(stage: Stage, aws: Aws) -> str:
    """Return the ARN of the existing stack, else of the last deleted one. Raises Refused without either."""
    words = ('--query', 'Stacks[0].StackId', '--output', 'text')
    try:
        return aws.run('cloudformation', 'describe-stacks', '--stack-name', stage.stack, *words)
    except Refused as refused:
        if 'does not exist' not in str(refused):
            raise
    query = f"StackSummaries[?StackName=='{stage.stack}'].StackId"
    deleted = ('--stack-status-filter', 'DELETE_COMPLETE', '--query', query, '--output', 'json')
    stacks = json.loads(aws.run('cloudformation', 'list-stacks', *deleted) or '[]')
    if not stacks:
        raise Refused(f'there is no stack {stage.stack}, nor was one deleted in the last 90 days')
    return str(stacks[0])


def kept(stack: str, aws: Aws) -> Iterator[Kept]:
    """Return the resources that a stack keeps when it is deleted, buckets first: their objects need the key.

    CloudFormation lists those of a deleted stack, too, for 90 days.
    """
    query = 'StackResourceSummaries[].[ResourceType,PhysicalResourceId]'
    words = ('--stack-name', stack, '--query', query, '--output', 'json')
    rows = json.loads(aws.run('cloudformation', 'list-stack-resources', *words) or '[]')
    for kind in VERBS:
        yield from (Kept(kind, name) for type_, name in rows if type_ == kind and name)


def _bucket(name: str, aws: Aws) -> Iterator[str]:
    if not aws.succeeds('s3api', 'head-bucket', '--bucket', name):
        return
    locked = sum(_delete(name, batch, aws) for batch in versions(name, aws))
    if locked:
        yield f'{locked} locked objects of the bucket {name}: repeat this when their locks have ended'
    else:
        aws.run('s3api', 'delete-bucket', '--bucket', name)


def versions(bucket: str, aws: Aws) -> Iterator[list[dict[str, str]]]:
    """Return every version and delete marker, in batches. All are listed before the first deletion."""
    pages, token = [], ''
    while True:
        more = ('--starting-token', token) if token else ()
        words = ('--bucket', bucket, '--max-items', str(PAGE), '--output', 'json', *more)
        page: dict[str, Any] = json.loads(aws.run('s3api', 'list-object-versions', *words) or '{}')
        rows = [*(page.get('Versions') or ()), *(page.get('DeleteMarkers') or ())]
        pages += [[{'Key': row['Key'], 'VersionId': row['VersionId']} for row in rows]]
        token = page.get('NextToken', '')
        if not token:
            break
    everything = [row for rows in pages for row in rows]
    return (everything[first : first + PAGE] for first in range(0, len(everything), PAGE))


def _delete(bucket: str, batch: list[dict[str, str]], aws: Aws) -> int:
    """Delete a batch; return the number of locked versions."""
    with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as file:
        json.dump({'Objects': batch, 'Quiet': True}, file)
        file.flush()
        words = ('--bucket', bucket, '--delete', f'file://{file.name}', '--output', 'json')
        answer = json.loads(aws.run('s3api', 'delete-objects', *words) or '{}')
    return len(answer.get('Errors', ()))


def _table(name: str, aws: Aws) -> Iterator[str]:
    if aws.succeeds('dynamodb', 'describe-table', '--table-name', name):
        aws.run('dynamodb', 'update-table', '--table-name', name, '--no-deletion-protection-enabled')
        aws.run('dynamodb', 'wait', 'table-exists', '--table-name', name)
        aws.run('dynamodb', 'delete-table', '--table-name', name)
    yield from ()


def _key(name: str, aws: Aws) -> Iterator[str]:
    words = ('--key-id', name, '--query', 'KeyMetadata.KeyState', '--output', 'text')
    if aws.run('kms', 'describe-key', *words) != 'PendingDeletion':
        aws.run('kms', 'schedule-key-deletion', '--key-id', name, '--pending-window-in-days', str(KEY_DAYS))
    yield f'the key {name} until it is deleted in {KEY_DAYS} days; aws kms cancel-key-deletion keeps it'


#: How each kind of kept resource is deleted, in order; each function returns what remains.
VERBS = {'AWS::S3::Bucket': _bucket, 'AWS::DynamoDB::Table': _table, 'AWS::KMS::Key': _key}
