"""Functions' access to tables, ``infra/permissions/access.yaml`` as policies; and permissions to start workflows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from chalicelib.rules.workflows import MACHINES

FILE = Path(__file__).parent / 'permissions' / 'access.yaml'

#: {function: {table, or table/index/name: actions}}.
Access = Mapping[str, Mapping[str, Iterable[str]]]

HEADER = """\
# Access of functions to tables. render.py makes one policy per function of it; make access rewrites it from the calls
# of functions in the last complete run of the tests. Review the difference like code.
"""


def load() -> Access:
    found: Access = yaml.safe_load(FILE.read_text(encoding='utf-8'))
    return found


def text(access: Access) -> str:
    """Return the text of an access file: sorted, a line per table."""
    lines = [HEADER]
    for function, tables in sorted(access.items()):
        lines += [f'{function}:', *(f'  {name}: [{", ".join(sorted(tables[name]))}]' for name in sorted(tables)), '']
    return '\n'.join(lines)


def policies(access: Access, tables: Mapping[str, str]) -> dict[str, Any]:
    """{logical id: managed policy}. ``tables`` maps a table's short name to its logical id.

    A function's indexes have a policy of their own: with those of its tables, the API's would exceed IAM's limit where
    partition, region and the stack's name are long. Raises ValueError for a table that does not exist.
    """
    found = {}
    for function, rows in access.items():
        for kind, is_index in (('Records', False), ('Indexes', True)):
            part = {name: actions for name, actions in rows.items() if ('/' in name) == is_index}
            if part:
                found[policy_id(function, kind)] = _policy(function, part, tables)
    return found


def policy_id(function: str, kind: str) -> str:
    """Return VolumeWorkerRecordsPolicy for ``volume_worker`` and ``Records``."""
    return ''.join(word.capitalize() for word in function.split('_')) + f'{kind}Policy'


def _policy(function: str, rows: Mapping[str, Iterable[str]], tables: Mapping[str, str]) -> dict[str, Any]:
    """Return statements; tables with the same access share one: a policy has 6,144 characters at most."""
    alike: dict[tuple[str, ...], list[Any]] = {}
    for name, actions in sorted(rows.items()):
        alike.setdefault(tuple(sorted(actions)), []).append(_arn(name, tables))
    statements = [
        {'Effect': 'Allow', 'Action': [f'dynamodb:{action}' for action in actions], 'Resource': resources}
        for actions, resources in alike.items()
    ]
    document = {'Version': '2012-10-17', 'Statement': statements}
    properties = {'Description': f'Records, as {function} uses them.', 'PolicyDocument': document}
    return {'Type': 'AWS::IAM::ManagedPolicy', 'Properties': properties}


def machine_policies(names: Iterable[str]) -> dict[str, Any]:
    """{logical id: managed policy} for starting state machines, reading their executions and invoking their workers.

    Workers are those of chalicelib/rules/workflows.py: Step Functions runs tasks by them, the reconciler failure tasks.
    Each is named: the pattern ``<stack>-*`` would match those of another stack whose name continues with a hyphen.
    """
    known, place = list(names), 'arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}'
    machines = [{'Fn::Sub': f'{place}:stateMachine:${{AWS::StackName}}-{name}'} for name in known]
    executions = [{'Fn::Sub': f'{place}:execution:${{AWS::StackName}}-{name}:*'} for name in known]
    functions = 'arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}'
    workers = [{'Fn::Sub': f'{functions}-{worker}'} for worker in sorted({MACHINES[name].worker for name in known})]
    return {
        'InvokeWorkersPolicy': _managed('Invoke the workers.', 'lambda:InvokeFunction', workers),
        'StartMachinesPolicy': _managed('Start machines.', 'states:StartExecution', machines),
        'FollowMachinesPolicy': _managed('Look at executions.', 'states:DescribeExecution', executions),
        'ReadMachinesPolicy': _managed('Read the steps of executions.', 'states:GetExecutionHistory', executions),
    }


def _managed(description: str, action: str, resources: list[Any]) -> dict[str, Any]:
    statement = {'Effect': 'Allow', 'Action': action, 'Resource': resources}
    document = {'Version': '2012-10-17', 'Statement': [statement]}
    return {'Type': 'AWS::IAM::ManagedPolicy', 'Properties': {'Description': description, 'PolicyDocument': document}}


def _arn(name: str, tables: Mapping[str, str]) -> Any:
    table, _, index = name.partition('/')
    if table not in tables:
        raise ValueError(f'infra/permissions/access.yaml: there is no table {table!r}')
    return {'Fn::Sub': f'${{{tables[table]}.Arn}}/{index}'} if index else {'Fn::GetAtt': [tables[table], 'Arn']}
