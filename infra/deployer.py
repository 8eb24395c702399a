"""Least-privilege policies of the principal that deploys: ``infra/permissions/deployer.yaml``, rendered for a stage.

``make policies STAGE=...`` prints them for one stage; docs/reference/deployer-policies.md has them with placeholders.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from infra.stage import Refused, Stage, load, partition

FILE = Path(__file__).parent / 'permissions' / 'deployer.yaml'

#: Groups of statements -> who needs the policy. ``make deploy`` calls CloudFormation, which acts with the same
#: credentials unless the stage has a service role.
GROUPS = {
    'commands': 'The commands of `make deploy`.',
    'records': 'CloudFormation: tables, bucket, key, documents, secrets, queues.',
    'compute': 'CloudFormation: functions, state machines, API, events, monitoring.',
    'identities': 'CloudFormation: roles and policies of the functions, and the optional web ACL.',
    'removal': 'The commands of `make remove` with `DATA`. Attach it only for that.',
}

PLACEHOLDERS = {
    'PARTITION': 'aws', 'REGION': 'REGION', 'ACCOUNT': 'ACCOUNT', 'STACK': 'STACK', 'BUCKET': 'BUCKET',
}  # fmt: skip

#: IAM's limit for a managed policy, in characters without white space.
LIMIT = 6144


def table() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding='utf-8'))
    return loaded


def policies(values: Mapping[str, str]) -> dict[str, Any]:
    """{group: policy document}, with each placeholder replaced by its value."""
    rows = table()
    return {group: _filled(_document(rows[group]), values) for group in GROUPS}


def _document(statements: Mapping[str, Any]) -> dict[str, Any]:
    return {'Version': '2012-10-17', 'Statement': [_statement(sid, row) for sid, row in statements.items()]}


def _statement(sid: str, row: Mapping[str, Any]) -> dict[str, Any]:
    condition = {'Condition': row['condition']} if 'condition' in row else {}
    return {'Sid': sid, 'Effect': 'Allow', 'Action': row['actions'], 'Resource': row['resources'], **condition}


def _filled(document: Any, values: Mapping[str, str]) -> Any:
    text = json.dumps(document)
    for name, value in values.items():
        text = text.replace(name, value)
    return json.loads(text)


def of_stage(stage: Stage, account: str, place: str) -> dict[str, Any]:
    """Return the policies for one stage in the partition ``place``. CloudFormation names the bucket after the stack."""
    bucket = stage.parameters.get('BucketName') or f'{stage.stack.lower()}-backupbucket-*'
    return policies(
        {'PARTITION': place, 'REGION': stage.region, 'ACCOUNT': account, 'STACK': stage.stack, 'BUCKET': bucket}
    )


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m infra.deployer', description='Print the policies of a deployer.')
    parser.add_argument('stage', help='deploy/<stage>.yaml, with its account')
    options = parser.parse_args(words)
    try:
        stage = load(options.stage, checked=False)
        if not stage.account:
            raise Refused(f'deploy/{options.stage}.yaml has no account: add account: with its 12 digits')
    except Refused as refused:
        print(f'no policies: {refused}', file=sys.stderr)
        return 1
    print(json.dumps(of_stage(stage, stage.account, partition(stage.region)), indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
