"""An option that needs a right which the roles never give fails when it is used: every option, against the roles."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.drivers.registry import DRIVERS
from infra import render
from tests import iam
from tests.iam import ACCOUNT, REGION, Question

WORKERS = ('VolumeWorkerRole', 'BackupWorkerRole')

EC2 = f'arn:aws:ec2:{REGION}:{ACCOUNT}'
ELSEWHERE = f'arn:aws:ec2:eu-west-1:{ACCOUNT}:volume/vol-1'
SNAPSHOT = f'arn:aws:ec2:{REGION}::snapshot/snap-1'
OURS, MADE = {'aws:ResourceTag/cinder:deployment': 'prod'}, {'aws:RequestTag/cinder:deployment': 'prod'}

#: Over the network of the workers, which no right of IAM is needed for.
NETWORK: tuple[Question, ...] = ()

#: What the driver does with what it reads or makes anyway.
NOTHING: tuple[Question, ...] = ()


def both(action: str, resource: str, **context: Any) -> tuple[Question, ...]:
    return tuple(Question(role, action, resource, context) for role in WORKERS)


def one(role: str, action: str, resource: str, **context: Any) -> tuple[Question, ...]:
    return (Question(role, action, resource, context),)


def read(name: str) -> tuple[Question, ...]:
    return both('secretsmanager:GetSecretValue', f'arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:prod/{name}-AbCdEf')


#: The tag is the deployer's (docs/reference/drivers.md); EC2 requests the grant on behalf of the worker.
KEY_OF_VOLUMES = both(
    'kms:CreateGrant',
    f'arn:aws:kms:{REGION}:{ACCOUNT}:key/theirs',
    **{**OURS, 'kms:ViaService': f'ec2.{REGION}.amazonaws.com', 'kms:GrantIsForAWSResource': 'true'},
)

#: (driver, option) -> what it takes of AWS.
NEEDS: dict[tuple[str, str], tuple[Question, ...]] = {
    ('appliance', 'url'): NETWORK,
    ('appliance', 'fingerprint'): NETWORK,
    ('appliance', 'certificate'): NETWORK,
    ('appliance', 'secret'): read('agent'),
    ('appliance', 'pools'): NETWORK,
    ('appliance', 'keep_backup_snapshots'): NETWORK,
    ('appliance', 'keep_backup_snapshots_days'): NETWORK,
    ('ebs', 'zones'): (
        *one('VolumeWorkerRole', 'ec2:DescribeAvailabilityZones', '*'),
        *both('ec2:CreateVolume', f'{EC2}:volume/vol-1', **MADE),
    ),
    ('ebs', 'volume_type'): one('VolumeWorkerRole', 'ec2:ModifyVolume', f'{EC2}:volume/vol-1', **OURS),
    ('ebs', 'encrypted'): NOTHING,  # EC2's own key, which its key policy gives to every principal of the account
    ('ebs', 'kms_key_id'): KEY_OF_VOLUMES,
    ('ebs', 'capacity_gb'): both('ec2:DescribeVolumes', '*'),
    ('ebs', 'keep_backup_snapshots'): (
        *both('ec2:DeleteSnapshot', SNAPSHOT, **OURS),
        *one('BackupWorkerRole', 'ebs:ListChangedBlocks', SNAPSHOT, **OURS),
    ),
    ('ebs', 'keep_backup_snapshots_days'): one('VolumeWorkerRole', 'ec2:DeleteSnapshot', SNAPSHOT, **OURS),
    ('ontap', 'url'): NETWORK,
    ('ontap', 'svm'): NETWORK,
    ('ontap', 'username'): NETWORK,
    ('ontap', 'password'): read('ontap'),
    ('ontap', 'chap_secret'): read('chap'),
    ('ontap', 'fingerprint'): NETWORK,
    ('ontap', 'certificate'): NETWORK,
    ('ontap', 'pools'): NETWORK,
    ('ontap', 'space_reservation'): NETWORK,
    ('ontap', 'iscsi_port'): NETWORK,
}


def options() -> Iterator[tuple[str, str, bool]]:
    """(driver, option, whether it is a secret) of every driver."""
    for kind, (module, name) in DRIVERS.items():
        driver = getattr(importlib.import_module(module), name)
        yield from ((kind, option, facts.secret) for option, facts in driver.OPTIONS.items())


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return dict(json.loads((render.templates() / 'plain.json').read_text()))


def test_every_option_has_its_row() -> None:
    assert {(kind, option) for kind, option, _ in options()} == set(NEEDS)
    assert {each for each, asked in NEEDS.items() if any('secretsmanager:' in one.action for one in asked)} == {
        (kind, option) for kind, option, secret in options() if secret
    }


def test_the_roles_give_what_every_option_needs(template: dict[str, Any]) -> None:
    asked = [(option, question) for option, questions in NEEDS.items() for question in questions]
    answers = iam.decide(iam.deployment(template), [question for _, question in asked])
    assert set(iam.decide(iam.deployment(template), both('ec2:CreateVolume', ELSEWHERE, **MADE))) == {
        'ImplicitlyDenied'
    }
    refused = [
        (option, question) for (option, question), answer in zip(asked, answers, strict=True) if answer != 'Allowed'
    ]
    assert refused == []
