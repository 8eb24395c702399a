"""Compare the functions' calls with their roles' permissions: ``python -m tests.permissions`` rewrites access.yaml.

local/recorder.py records the calls, in tests and in the local clouds that tests start. Functions do not make the calls
of AWS itself under their roles: those rows are in infra/permissions/implicit.yaml, each with its source.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infra import access, render
from local import callers
from local.intrinsics import Scope
from local.settings import ACCOUNT, REGION
from local.stack import PSEUDO_PARAMETERS

RECORDS = render.BUILD / 'calls'

#: Roles by the function that has them.
ROLES = {
    'api': 'ApiRole',
    'start_workflow': 'StartWorkflowRole',
    'volume_worker': 'VolumeWorkerRole',
    'backup_worker': 'BackupWorkerRole',
    'reconcile': 'ReconcileRole',
    'report_pools': 'ReportPoolsRole',
    'backup_schedules': 'BackupSchedulesRole',
}

WORKERS = ('volume_worker', 'backup_worker')

ADVICE = (
    'docs/explanation/security.md, "Change permissions": python -m tests.permissions --keep adds rows of tables after '
    'any run, make access writes all of them after a complete one; other rows are for infra/roles.yaml.'
)


class Call(NamedTuple):
    """One thing that a function did. ``context``: its condition keys as JSON; ``null`` where they are unknown."""

    function: str
    action: str
    resource: str
    context: str = '{}'


class Permission(NamedTuple):
    """One action on one pattern of resources that a function's role allows."""

    function: str
    action: str
    pattern: str

    def covers(self, call: Call) -> bool:
        whose = WORKERS if call.function == callers.SOME_WORKER else (call.function,)
        same = self.function in whose and self.action == call.action
        return same and fnmatch.fnmatchcase(call.resource, self.pattern)


def recorded(folder: Path = RECORDS) -> set[Call]:
    """Every call that any process of the last run noted."""
    lines = {line for path in folder.glob('*.jsonl') for line in path.read_text(encoding='utf-8').splitlines()}
    return {Call(*names, json.dumps(context, sort_keys=True)) for *names, context in map(json.loads, lines)}


def allowed(template: dict[str, Any], *, at_most: bool = False) -> set[Permission]:
    """Return the permissions of the roles in the template.

    Conditional policies are included. With ``at_most``, so are statements that only a deployer's parameter adds: tests
    may make these calls, but need not.
    """
    scope = scope_of(template)
    return {
        Permission(function, action, pattern)
        for function, role in ROLES.items()
        for statement in _statements(template, role, at_most)
        if statement.get('Effect') == 'Allow'
        for action in _list(statement['Action'])
        for pattern in _patterns(scope, statement['Resource'], at_most)
    }


def _patterns(scope: Scope, resource: Any, at_most: bool) -> list[str]:
    """Resources of a statement; those that are a deployer's list may be any. ``at_most``: under any parameters."""
    chosen = _choices(resource) if at_most else [resource]
    return [pattern or '*' for each in chosen for pattern in _list(scope.resolve(each))]


def _choices(resource: Any) -> list[Any]:
    if isinstance(resource, dict) and 'Fn::If' in resource:
        return [choice for branch in resource['Fn::If'][1:] for choice in _choices(branch)]
    return [resource]


def _statements(template: dict[str, Any], role: str, at_most: bool) -> Iterator[dict[str, Any]]:
    properties = template['Resources'][role]['Properties']
    documents = [policy['PolicyDocument'] for policy in properties.get('Policies', ())]
    for reference in properties.get('ManagedPolicyArns', ()):
        reference = reference['Fn::If'][1] if 'Fn::If' in reference else reference
        if 'Ref' in reference:
            documents.append(template['Resources'][reference['Ref']]['Properties']['PolicyDocument'])
    for document in documents:
        for statement in document['Statement']:
            if at_most or 'Fn::If' not in statement:
                yield from branches(statement)


def branches(statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The statements that one becomes under some parameters."""
    if 'Fn::If' in statement:
        for branch in statement['Fn::If'][1:]:
            yield from branches(branch)
    elif 'Ref' not in statement:
        yield statement


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


#: Values of ``GetAtt Arn``, by the property that names the resource, or by the logical id without one.
_ARNS = {
    'AWS::DynamoDB::Table': ('TableName', 'arn:aws:dynamodb:{place}:table/{name}'),
    'AWS::SQS::Queue': ('QueueName', 'arn:aws:sqs:{place}:{name}'),
    'AWS::Logs::LogGroup': ('LogGroupName', 'arn:aws:logs:{place}:log-group:{name}:*'),
    'AWS::Lambda::Function': ('FunctionName', 'arn:aws:lambda:{place}:function:{name}'),
    'AWS::KMS::Key': ('', 'arn:aws:kms:{place}:key/{name}'),
    'AWS::S3::Bucket': ('', 'arn:aws:s3:::backups'),
    'AWS::Events::EventBus': ('Name', 'arn:aws:events:{place}:event-bus/{name}'),
}


def scope_of(template: dict[str, Any]) -> Scope:
    """Names as the local cloud would have them."""
    resources = template['Resources']
    names = {name: body['Properties'].get('Name', name) for name, body in resources.items() if 'Properties' in body}
    defaults = {name: parameter.get('Default', '') for name, parameter in template['Parameters'].items()}
    first = Scope({**PSEUDO_PARAMETERS, **defaults}, {})
    refs = {name: first.resolve(value) for name, value in names.items()}
    arns = {
        name: pattern.format(place=f'{REGION}:{ACCOUNT}', name=first.resolve(body['Properties'].get(key, name)))
        for name, body in resources.items()
        if body['Type'] in _ARNS
        for key, pattern in [_ARNS[body['Type']]]
    }
    return Scope({**PSEUDO_PARAMETERS, **defaults, **refs}, arns, template['Conditions'])


def implicit() -> set[tuple[str, str]]:
    """(function, action) pairs that AWS needs without being called by the function."""
    rows = yaml.safe_load((render.ROOT / 'infra' / 'permissions' / 'implicit.yaml').read_text(encoding='utf-8'))
    return {(function, action) for row in rows for function in row['functions'] for action in row['actions']}


def missing(calls: Iterable[Call], permissions: Iterable[Permission]) -> list[str]:
    """Return the calls that AWS would refuse, each with the row to add."""
    known = list(permissions)
    refused = sorted({call[:3] for call in calls if not any(permission.covers(call) for permission in known)})
    return [
        f'{function} calls {action} on {resource}, and {ROLES.get(function, "its role")} does not allow it'
        for function, action, resource in refused
    ]


def unused(calls: Iterable[Call], permissions: Iterable[Permission]) -> list[str]:
    """Permissions that nothing needed."""
    seen, free = list(calls), implicit()
    return [
        f'{ROLES[one.function]} allows {one.action} on {one.pattern}, and {one.function} never calls it'
        for one in sorted(permissions)
        if (one.function, one.action) not in free and not any(one.covers(call) for call in seen)
    ]


def access_of(calls: Iterable[Call]) -> dict[str, dict[str, set[str]]]:
    """The DynamoDB part of the calls, as infra/permissions/access.yaml has it."""
    found: dict[str, dict[str, set[str]]] = {}
    for call in calls:
        prefix, action = call.action.split(':')
        if prefix == 'dynamodb':
            table = call.resource.partition('table/cinderless-')[2]
            found.setdefault(call.function, {}).setdefault(table, set()).add(action)
    return found


def template() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((render.templates() / 'plain.json').read_text())
    return loaded


def main(keep: bool) -> int:
    """Write access.yaml from the last run; ``keep`` retains its earlier permissions, for a partial run."""
    found = access_of(recorded())
    if keep:
        for function, tables in access.load().items():
            for table, actions in tables.items():
                found.setdefault(function, {}).setdefault(table, set()).update(actions)
    access.FILE.write_text(access.text(found))
    others = [line for line in missing(recorded(), allowed(template(), at_most=True)) if 'dynamodb:' not in line]
    print('\n'.join([f'{access.FILE.name}: {sum(map(len, found.values()))} rows', *others]))
    return 1 if others else 0


if __name__ == '__main__':
    sys.exit(main(keep='--keep' in sys.argv))
