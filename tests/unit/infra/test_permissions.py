"""Calls against roles, and tables against access: the arithmetic. The real comparison ends every run of the tests."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from infra import access
from local import callers, recorder, workers
from tests import permissions, recording
from tests.factories import stored_volume
from tests.permissions import Call, Permission
from tests.simulation import Simulation

TABLE = 'arn:aws:dynamodb:us-east-1:123456789012:table/cinderless-volumes'
VOLUMES = 'arn:aws:ec2:us-east-1:123456789012:volume'
SNAPSHOTS = 'arn:aws:ec2:us-east-1::snapshot/any'
FUNCTION = 'arn:aws:lambda:us-east-1:123456789012:function'


def test_the_roles_of_the_template_are_read_with_their_policies() -> None:
    allowed = permissions.allowed(permissions.template())
    assert {one.function for one in allowed} == set(permissions.ROLES)
    queue = 'arn:aws:sqs:us-east-1:123456789012:cinderless-work'
    assert Permission('api', 'sqs:SendMessage', queue) in allowed
    assert not [one for one in allowed if one.function == 'start_workflow' and one.action.startswith('dynamodb:')]


def test_what_a_deployers_parameter_adds_may_be_called_and_need_not() -> None:
    template = permissions.template()
    always, at_most = permissions.allowed(template), permissions.allowed(template, at_most=True)
    locks = {one for one in at_most - always if one.action == 's3:PutObjectRetention'}
    assert [one.pattern for one in locks] == ['arn:aws:s3:::backups/*']
    assert Permission('backup_worker', 'kms:Encrypt', '*') in at_most - always
    assert always <= at_most


def test_what_is_called_and_not_allowed_is_told_with_the_function() -> None:
    calls = {Call('api', 'dynamodb:Scan', TABLE), Call('api', 'dynamodb:GetItem', TABLE)}
    (line,) = permissions.missing(calls, {Permission('api', 'dynamodb:GetItem', TABLE)})
    assert line == f'api calls dynamodb:Scan on {TABLE}, and ApiRole does not allow it'


def test_another_functions_permission_does_not_help() -> None:
    calls = {Call('api', 'dynamodb:GetItem', TABLE)}
    assert permissions.missing(calls, {Permission('reconcile', 'dynamodb:GetItem', TABLE)})


def test_what_a_test_asks_of_a_driver_some_worker_may_do() -> None:
    call = Call(callers.SOME_WORKER, 'ec2:AttachVolume', f'{VOLUMES}/any')
    allowed = [Permission('volume_worker', call.action, f'{VOLUMES}/*')]
    assert permissions.missing([call], allowed) == permissions.unused([call], allowed) == []
    assert permissions.missing([call], [Permission('api', call.action, '*')])


def test_what_is_allowed_and_never_called_is_told() -> None:
    permission = Permission('api', 'dynamodb:Scan', TABLE)
    (line,) = permissions.unused([Call('api', 'dynamodb:GetItem', TABLE)], [permission])
    assert line == f'ApiRole allows dynamodb:Scan on {TABLE}, and api never calls it'
    assert permissions.unused([Call('api', 'dynamodb:Scan', TABLE)], [permission]) == []


def test_what_aws_does_under_a_role_counts_as_used() -> None:
    assert permissions.unused([], [Permission('api', 'logs:PutLogEvents', 'arn:aws:logs:*')]) == []


def test_every_implicit_permission_names_its_source() -> None:
    import yaml

    from infra.render import ROOT

    for row in yaml.safe_load((ROOT / 'infra' / 'permissions' / 'implicit.yaml').read_text()):
        assert row['source'].startswith('https://docs.aws.amazon.com/')
        assert set(row['functions']) <= set(permissions.ROLES)
        assert row['why']


def test_every_implicit_permission_is_one_that_a_role_has() -> None:
    allowed = permissions.allowed(permissions.template(), at_most=True)
    assert permissions.implicit() <= {(one.function, one.action) for one in allowed}


@pytest.mark.parametrize(
    ('service', 'operation', 'params', 'expected'),
    [
        (
            'dynamodb',
            'Query',
            {'TableName': 'cinderless-volumes', 'IndexName': 'by_id'},
            [('dynamodb:Query', f'{TABLE}/index/by_id'), ('dynamodb:GetItem', TABLE)],
        ),
        (
            'dynamodb',
            'TransactWriteItems',
            {'TransactItems': [{'ConditionCheck': {'TableName': 'cinderless-volumes'}}]},
            [('dynamodb:ConditionCheckItem', TABLE)],
        ),
        ('s3', 'ListObjectsV2', {'Bucket': 'any'}, [('s3:ListBucket', 'arn:aws:s3:::backups')]),
        ('s3', 'UploadPart', {'Bucket': 'any', 'Key': 'k'}, [('s3:PutObject', 'arn:aws:s3:::backups/object')]),
        ('lambda', 'Invoke', {'FunctionName': 'f'}, [('lambda:InvokeFunction', f'{FUNCTION}:f')]),
        ('ec2', 'DescribeVolumes', {}, [('ec2:DescribeVolumes', '*')]),
        (
            'ec2',
            'CreateVolume',
            {'TagSpecifications': [{'ResourceType': 'volume'}]},
            [('ec2:CreateVolume', f'{VOLUMES}/any'), ('ec2:CreateTags', f'{VOLUMES}/any')],
        ),
    ],
)
def test_a_call_becomes_what_iam_asks_for(
    service: str, operation: str, params: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert list(recorder.permissions(service, operation, params)) == expected


def test_a_thread_belongs_to_the_function_that_started_it(tmp_path: Path) -> None:
    """Recording is on in every run of the tests; this one calls the function in a thread of a task."""
    from chalicelib import tasks

    found: list[tuple[str, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('chalicelib.tasks.backups.copy_range', recording.asking_in_a_thread(found))
        tasks.run({'task': 'copy_range', 'input': {}}, None)
    assert found == [('backup_worker',)]
    assert callers.callers() == ()


@pytest.mark.parametrize(
    ('operation', 'params', 'expected'),
    [
        ('CreateVolume', {'SnapshotId': 'snap-1'}, {('CreateVolume', f'{VOLUMES}/any'), ('CreateVolume', SNAPSHOTS)}),
        (
            'CreateSnapshot',
            {'VolumeId': 'vol-1'},
            {('CreateSnapshot', f'{VOLUMES}/any'), ('CreateSnapshot', SNAPSHOTS)},
        ),
        ('CreateTags', {'Resources': ['snap-1']}, {('CreateTags', SNAPSHOTS)}),
        ('DeleteTags', {'Resources': ['vol-1']}, {('DeleteTags', f'{VOLUMES}/any')}),
    ],
)
def test_ec2_asks_for_each_object_that_a_call_names(
    operation: str, params: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    found = recorder.permissions('ec2', operation, params)
    assert set(found) == {(f'ec2:{action}', resource) for action, resource in expected}


def test_what_hangs_on_luck_is_noted_each_time(simulation: Simulation, tmp_path: Path) -> None:
    """A type that is remembered, a condition that holds: other processes read, and lose."""
    notes = recorder._Notes(tmp_path / 'notes.jsonl', everything=True)
    listeners = recorder._listeners(notes)
    ask = listeners[('chalicelib.operations.volume_types', '_remembered')](lambda: {})
    write = listeners[('chalicelib.models.base', 'update')](lambda *_: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, 'callers', lambda: ('api',))
        ask()
        write(stored_volume(), [])
    place = TABLE.rpartition('/')[0]
    assert permissions.recorded(tmp_path) == {
        Call('api', 'dynamodb:Query', f'{place}/cinderless-volume-types'),
        Call('api', 'dynamodb:GetItem', TABLE),
    }


def test_what_is_remembered_has_its_name_still() -> None:
    for module, name in recorder._listeners(recorder._Notes(Path(), everything=False)):
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(
    ('path', 'name', 'expected'),
    [
        ('operations/volumes.py', 'update', ('api',)),
        ('operations/volume_creation.py', 'create', ('api',)),  # shown by operations.volumes
        ('operations/volumes.py', '_forget', ()),  # its caller is further out
        ('operations/volume_types.py', 'read', ()),  # tasks do, too
        ('tasks/backups.py', 'copy_range', ('backup_worker',)),
        ('tasks/reconcile.py', 'run', ()),  # an entry
    ],
)
def test_what_only_one_function_ever_does_is_its_own_without_an_entry(
    path: str, name: str, expected: tuple[str, ...]
) -> None:
    assert callers._asked(f'chalicelib/{path}', name) == expected


def test_machines_say_who_runs_a_task() -> None:
    assert workers.workers_of('provision') == ('volume_worker',)
    assert workers.workers_of('copy_range') == ('backup_worker',)
    assert workers.workers_of('initialize_connection') == ('volume_worker',)


def test_an_access_is_a_policy_per_function_and_says_which_table_is_unknown() -> None:
    rows = {'api': {'volumes': ['GetItem'], 'volumes/index/by_id': ['Query'], 'types': ['GetItem']}}
    found = access.policies(rows, {'volumes': 'VolumesTable', 'types': 'TypesTable'})
    [records, indexes] = [body['Properties']['PolicyDocument']['Statement'] for body in found.values()]
    assert list(found) == ['ApiRecordsPolicy', 'ApiIndexesPolicy']
    assert [each['Action'] for each in [*records, *indexes]] == [['dynamodb:GetItem'], ['dynamodb:Query']]
    assert indexes[0]['Resource'] == [{'Fn::Sub': '${VolumesTable.Arn}/index/by_id'}]
    with pytest.raises(ValueError, match='types'):
        access.policies(rows, {'volumes': 'VolumesTable'})


def test_an_access_is_written_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [Call('api', 'dynamodb:GetItem', TABLE), Call('api', 'sqs:SendMessage', 'queue')]
    monkeypatch.setattr(access, 'FILE', tmp_path / 'access.yaml')
    access.FILE.write_text(access.text(permissions.access_of(calls)))
    assert access.load() == {'api': {'volumes': ['GetItem']}}


def test_machines_are_allowed_by_their_names() -> None:
    """A stack ``cinderless`` must not start what belongs to ``cinderless-test``."""
    template = permissions.template()
    starting = [one.pattern for one in permissions.allowed(template) if one.action.startswith('states:')]
    machines = [body for body in template['Resources'].values() if body['Type'] == 'AWS::StepFunctions::StateMachine']
    assert len(starting) == 4 * len(machines)
    assert not [pattern for pattern in starting if '*' in pattern.removesuffix(':*')]


def test_policies_fit_their_limit() -> None:
    """IAM takes 6,144 characters of a managed policy, not counting white space."""
    template = permissions.template()
    scope = permissions.scope_of(template)
    for name, body in template['Resources'].items():
        if body['Type'] == 'AWS::IAM::ManagedPolicy':
            document = scope.resolve(body['Properties']['PolicyDocument'])
            assert len(json.dumps(document, separators=(',', ':'))) < 6144, name


def test_roles_fit_their_limits() -> None:
    """IAM takes ten managed policies of a role and 10,240 characters of its own: here both together have fewer."""
    template = permissions.template()
    scope = permissions.scope_of(template)
    for role in permissions.ROLES.values():
        statements = scope.resolve(list(permissions._statements(template, role, at_most=True)))
        assert len(json.dumps(statements, separators=(',', ':'))) < 10_240, role
        assert len(template['Resources'][role]['Properties']['ManagedPolicyArns']) <= 10


def test_records_of_all_processes_are_read(tmp_path: Path) -> None:
    (tmp_path / '1.jsonl').write_text(json.dumps(['api', 'a:B', 'r', {}]) + '\n')
    (tmp_path / '2.jsonl').write_text(json.dumps(['api', 'a:C', 'r', None]) + '\n')
    assert permissions.recorded(tmp_path) == {Call('api', 'a:B', 'r'), Call('api', 'a:C', 'r', 'null')}
