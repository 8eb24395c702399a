"""What is deployed, read as data: limits of AWS, least privilege, encryption, and what the local cloud relies on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import telemetry
from docs import cost
from infra import asl, deploy, render
from tests import permissions

#: Seconds between the first and the second attempt of Lambda at an asynchronous event.
#: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
LAMBDA_PAUSE = 60

#: Quotas of AWS that a deployment meets without a request for more.
MAX_RESOURCES_PER_API, MAX_TEMPLATE_RESOURCES, MAX_ENVIRONMENT = 300, 500, 4096


@pytest.fixture(scope='module')
def build() -> Path:
    return render.templates()


@pytest.fixture(scope='module')
def plain(build: Path) -> dict[str, Any]:
    return dict(json.loads((build / 'plain.json').read_text()))


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: body['Properties'] for name, body in template['Resources'].items() if body['Type'] == kind}


@pytest.mark.parametrize('name', ['template.json', 'plain.json'])
def test_cfn_lint_finds_nothing(build: Path, name: str) -> None:
    from cfnlint.api import lint_all

    found = [f'{match.rule.id} {match.message}' for match in lint_all((build / name).read_text())]
    assert [line for line in found if not line.startswith('I')] == []  # I: advice, not a finding


def test_the_template_fits(build: Path, plain: dict[str, Any]) -> None:
    """As infra/deploy.py uploads it, and as the SAM transform leaves it."""
    assert len(json.dumps(json.loads((build / 'template.json').read_text()))) < deploy.MAX_TEMPLATE
    assert len(json.dumps(plain)) < deploy.MAX_TEMPLATE
    assert len(plain['Resources']) < MAX_TEMPLATE_RESOURCES


def test_the_api_fits_the_default_quota_of_resources(plain: dict[str, Any]) -> None:
    paths = of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['paths']
    nodes = {
        '/'.join(parts[:length]) for parts in (path.split('/') for path in paths) for length in range(1, len(parts) + 1)
    }
    assert len(nodes) < MAX_RESOURCES_PER_API


def test_siblings_never_name_a_variable_differently(plain: dict[str, Any]) -> None:
    """API Gateway takes one variable per level, and Chalice does not look."""
    names: dict[str, set[str]] = {}
    for path in of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['paths']:
        parts = path.split('/')
        for place, part in enumerate(parts):
            if part.startswith('{'):
                names.setdefault('/'.join(parts[:place]), set()).add(part)
    assert {prefix: found for prefix, found in names.items() if len(found) > 1} == {}


def test_the_api_is_regional(plain: dict[str, Any]) -> None:
    assert of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['EndpointConfiguration'] == {'Types': ['REGIONAL']}


@pytest.mark.parametrize(
    ('kind', 'status', 'fault'),
    [
        ('THROTTLED', 413, 'overLimit'),
        ('REQUEST_TOO_LARGE', 413, 'overLimit'),
        ('DEFAULT_4XX', 400, 'badRequest'),
        ('INTEGRATION_TIMEOUT', 504, 'computeFault'),
        ('DEFAULT_5XX', None, 'computeFault'),
    ],
)
def test_the_gateway_answers_like_cinder(plain: dict[str, Any], kind: str, status: int | None, fault: str) -> None:
    told = of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['x-amazon-apigateway-gateway-responses'][kind]
    body = json.loads(told['responseTemplates']['application/json'].replace('$context.error.messageString', '"text"'))
    assert list(body) == [fault]
    assert set(body[fault]) >= {'code', 'message'}
    assert told.get('statusCode') == (str(status) if status else None)


@pytest.mark.parametrize('kind', ['MISSING_AUTHENTICATION_TOKEN', 'RESOURCE_NOT_FOUND'])
def test_an_unknown_path_gets_cinders_404(plain: dict[str, Any], kind: str) -> None:
    told = of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['x-amazon-apigateway-gateway-responses'][kind]
    assert told['statusCode'] == '404'
    assert json.loads(told['responseTemplates']['application/json']) == {
        'message': 'The resource could not be found.<br /><br />\n\n\n',
        'code': '404 Not Found',
        'title': 'Not Found',
    }


def test_functions_have_their_own_role_and_the_runtime_of_the_release(plain: dict[str, Any]) -> None:
    functions = of_type(plain, 'AWS::Lambda::Function')
    roles = [json.dumps(body['Role']) for body in functions.values()]
    assert len(set(roles)) == len(functions) == 7
    assert {body['Runtime'] for body in functions.values()} == {'python3.13'}
    assert {tuple(body['Architectures']) for body in functions.values()} == {('x86_64',)}


def test_functions_are_told_everything_that_settings_read(plain: dict[str, Any]) -> None:
    from chalicelib.config import DEFAULTS, Settings

    needed = {name.upper() for name in Settings._fields if name not in DEFAULTS}
    for body in of_type(plain, 'AWS::Lambda::Function').values():
        told = body['Environment']['Variables']
        assert needed <= set(told)
        assert len(json.dumps(told)) < MAX_ENVIRONMENT


def test_the_api_ends_with_the_gateways_patience_and_workers_outlive_their_callers(plain: dict[str, Any]) -> None:
    from chalicelib.aws import INVOKE_TIMEOUT

    timeouts = {name: body['Timeout'] for name, body in of_type(plain, 'AWS::Lambda::Function').items()}
    assert INVOKE_TIMEOUT < timeouts['APIHandler'] <= 29
    assert timeouts['VolumeWorker'] >= 120
    assert timeouts['BackupWorker'] == 900


def test_a_message_stays_hidden_for_six_tries_and_is_given_up_in_the_end(plain: dict[str, Any]) -> None:
    queue = of_type(plain, 'AWS::SQS::Queue')['WorkQueue']
    timeout = of_type(plain, 'AWS::Lambda::Function')['StartWorkflow']['Timeout']
    assert queue['VisibilityTimeout'] >= 6 * timeout
    assert queue['RedrivePolicy']['deadLetterTargetArn'] == {'Fn::GetAtt': ['DeadLetterQueue', 'Arn']}
    (mapping,) = of_type(plain, 'AWS::Lambda::EventSourceMapping').values()
    assert mapping['FunctionResponseTypes'] == ['ReportBatchItemFailures']
    assert mapping['EventSourceArn'] == {'Fn::GetAtt': ['WorkQueue', 'Arn']}
    assert mapping['ScalingConfig']['MaximumConcurrency'] == {'Ref': 'StartWorkflowConcurrency'}


def test_every_machine_file_is_a_machine(plain: dict[str, Any]) -> None:
    machines = of_type(plain, 'AWS::StepFunctions::StateMachine').values()
    names = {body['StateMachineName']['Fn::Sub'] for body in machines}
    assert names == {f'${{AWS::StackName}}-{name}' for name in asl.machines(render.ROOT / 'stepfunctions')}


def test_every_model_is_a_table_that_some_function_uses(plain: dict[str, Any]) -> None:
    from chalicelib import models

    tables = of_type(plain, 'AWS::DynamoDB::Table')
    assert len(tables) == len(models.TABLES)
    policies = json.dumps(of_type(plain, 'AWS::IAM::ManagedPolicy'))
    assert [name for name in tables if f'"Fn::GetAtt": ["{name}", "Arn"]' not in policies] == []


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that is allowed under some parameters, with the name of its role or policy."""
    for name, body in of_type(template, 'AWS::IAM::ManagedPolicy').items():
        yield from ((name, each) for each in allowed(body['PolicyDocument']))
    for name, body in of_type(template, 'AWS::IAM::Role').items():
        for each in body.get('Policies', ()):
            _, policy, *_ = each.get('Fn::If', ('', each))
            yield from ((name, statement) for statement in allowed(policy['PolicyDocument']))


def allowed(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a document allows, by the statements that depend on a condition, too."""
    for statement in document['Statement']:
        for branch in permissions.branches(statement):
            if branch.get('Effect') == 'Allow':
                yield branch


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_statement_names_every_resource_but_to_describe(plain: dict[str, Any]) -> None:
    wide = [(name, each) for name, each in statements(plain) if '*' in as_list(each['Resource'])]
    assert wide
    for name, statement in wide:
        actions = as_list(statement['Action'])
        delivery = name == 'MachinesRole' and all(action.startswith('logs:') for action in actions)
        assert delivery or all(action.split(':')[1].startswith('Describe') for action in actions), name


def test_no_statement_allows_every_action(plain: dict[str, Any]) -> None:
    for name, statement in statements(plain):
        assert all(not action.endswith('*') for action in as_list(statement['Action'])), name


def test_only_the_backup_worker_touches_backups(plain: dict[str, Any]) -> None:
    holders = {name for name, each in statements(plain) if any('s3:' in action for action in as_list(each['Action']))}
    assert holders == {'BackupWorkerRole'}


def test_stores_are_encrypted_and_closed(plain: dict[str, Any]) -> None:
    bucket = of_type(plain, 'AWS::S3::Bucket')['BackupBucket']
    assert all(bucket['PublicAccessBlockConfiguration'].values())
    (rule,) = bucket['BucketEncryption']['ServerSideEncryptionConfiguration']
    assert rule['ServerSideEncryptionByDefault']['SSEAlgorithm'] == 'aws:kms'
    assert all(queue['SqsManagedSseEnabled'] for queue in of_type(plain, 'AWS::SQS::Queue').values())
    assert all('KmsKeyId' in secret for secret in of_type(plain, 'AWS::SecretsManager::Secret').values())
    for policies in ('AWS::S3::BucketPolicy', 'AWS::SQS::QueuePolicy'):
        assert all('aws:SecureTransport' in json.dumps(body) for body in of_type(plain, policies).values())


def test_a_bucket_with_locks_keeps_versions_and_forgets_them(plain: dict[str, Any]) -> None:
    """Object Lock is refused without versions; and what was deleted must not be paid for forever."""
    bucket = of_type(plain, 'AWS::S3::Bucket')['BackupBucket']
    locked = ['ObjectLockEnabled', 'VersioningConfiguration']
    assert {bucket[name]['Fn::If'][0] for name in locked} == {'HasLocks'}
    rules = [rule['Fn::If'] for rule in bucket['LifecycleConfiguration']['Rules'] if 'Fn::If' in rule]
    assert [(condition, 'NoncurrentVersionExpiration' in rule) for condition, rule, _ in rules] == [('HasLocks', True)]
    given = {action for _, each in statements(plain) for action in as_list(each['Action']) if 'Retention' in action}
    assert given == {'s3:GetObjectRetention', 's3:PutObjectRetention'}


def test_one_policy_per_queue(plain: dict[str, Any]) -> None:
    """A second AWS::SQS::QueuePolicy on a queue replaces the first."""
    queues = [
        json.dumps(queue) for body in of_type(plain, 'AWS::SQS::QueuePolicy').values() for queue in body['Queues']
    ]
    assert len(queues) == len(set(queues))


def test_every_function_has_a_log_group_with_an_end(plain: dict[str, Any]) -> None:
    names = {body['FunctionName']['Fn::Sub'] for body in of_type(plain, 'AWS::Lambda::Function').values()}
    groups = of_type(plain, 'AWS::Logs::LogGroup').values()
    kept = {body['LogGroupName']['Fn::Sub'] for body in groups}
    assert {name.removeprefix('/aws/lambda/') for name in kept if name.startswith('/aws/lambda/')} == names
    assert all('RetentionInDays' in body for body in groups)


def test_bad_ends_wake_the_reconciler(plain: dict[str, Any]) -> None:
    rule = of_type(plain, 'AWS::Events::Rule')['MachineFailed']
    assert rule['EventPattern']['detail']['status'] == ['FAILED', 'TIMED_OUT', 'ABORTED']
    assert rule['Targets'][0]['Arn'] == {'Fn::GetAtt': ['Reconcile', 'Arn']}


def test_dead_letters_and_bad_ends_raise_alarms(plain: dict[str, Any]) -> None:
    metrics = {body['MetricName'] for body in of_type(plain, 'AWS::CloudWatch::Alarm').values()}
    assert {'ApproximateNumberOfMessagesVisible', 'MatchedEvents', '5XXError'} <= metrics


def test_the_dashboard_is_json(plain: dict[str, Any]) -> None:
    body = of_type(plain, 'AWS::CloudWatch::Dashboard')['MetricsDashboard']['DashboardBody']['Fn::Sub']
    assert len(json.loads(body)['widgets']) == 10


#: Metrics of AWS that the alarms and the dashboard may name, with their dimensions, as AWS documents them.
KNOWN_METRICS = {
    'AWS/ApiGateway': ({'Count', '4XXError', '5XXError', 'Latency'}, ('ApiName',)),
    'AWS/SQS': ({'ApproximateNumberOfMessagesVisible', 'ApproximateAgeOfOldestMessage'}, ('QueueName',)),
    'AWS/Events': ({'MatchedEvents'}, ('RuleName',)),
    'AWS/Lambda': ({'Errors', 'Throttles', 'Duration'}, ('FunctionName',)),
}


def watched(template: dict[str, Any]) -> set[tuple[str, str, tuple[str, ...]]]:
    """(namespace, metric, dimensions) of every alarm and every line of the dashboard."""
    body = of_type(template, 'AWS::CloudWatch::Dashboard')['MetricsDashboard']['DashboardBody']['Fn::Sub']
    found = set()
    for widget in json.loads(body)['widgets']:
        before: list[str] = []
        for row in widget['properties']['metrics']:
            words = [word for word in row if isinstance(word, str)]
            if not words:
                continue  # a search over the machines' own metrics
            before = expanded(words, before)
            found.add((before[0], before[1], tuple(before[2::2])))
    for alarm in of_type(template, 'AWS::CloudWatch::Alarm').values():
        dimensions = tuple(dimension['Name'] for dimension in alarm['Dimensions'])
        found.add((alarm['Namespace'], alarm['MetricName'], dimensions))
    return found


def expanded(words: list[str], before: list[str]) -> list[str]:
    """A line in full: "." is the word above it, "..." all words that are not repeated at the end."""
    if words[0] == '...':
        told = words[1:]
        return [*before[: len(before) - len(told)], *told]
    return [before[place] if word == '.' else word for place, word in enumerate(words)]


def test_what_is_watched_is_what_is_counted(plain: dict[str, Any]) -> None:
    """The project's own, under the dimension that telemetry gives them; and of AWS's what there is."""
    source = ' '.join(path.read_text() for path in (render.ROOT / 'chalicelib').rglob('*.py'))
    ours = {('Cinderless', name, ('Stack',)) for name in re.findall(r"telemetry\.count\(\s*'(\w+)'", source)}
    ours.add(('Cinderless', telemetry.ATTENTION, ('Stack',)))
    seen = watched(plain)
    assert {each for each in seen if each[0] == 'Cinderless'} == ours
    assert {name for _, name, _ in ours} == set(cost.METRICS)
    for namespace, metric, dimensions in seen - ours:
        names, expected = KNOWN_METRICS[namespace]
        assert metric in names
        assert dimensions == expected


def test_alarms_tell_somebody(plain: dict[str, Any]) -> None:
    alarms = of_type(plain, 'AWS::CloudWatch::Alarm')
    always = {name for name, body in plain['Resources'].items() if name in alarms and 'Condition' not in body}
    assert always == {'DeadLettersAlarm', 'ApiErrsAlarm', 'AttentionAlarm'}
    assert len(alarms) == 12
    assert all('AlarmTopicArn' in json.dumps(body['AlarmActions']) for body in alarms.values())


def test_three_alarms_find_every_failure_within_fifteen_minutes(plain: dict[str, Any]) -> None:
    """From the first failed run of a scheduled function to the alarm: two runs, Lambda's pause, the alarm's period."""
    alarm = of_type(plain, 'AWS::CloudWatch::Alarm')['DeadLettersAlarm']
    invoked = of_type(plain, 'AWS::Lambda::EventInvokeConfig')
    functions = of_type(plain, 'AWS::Lambda::Function')
    rules = of_type(plain, 'AWS::Events::Rule').values()
    scheduled = {rule['Targets'][0]['Arn']['Fn::GetAtt'][0]: rule.get('ScheduleExpression') for rule in rules}
    assert set(scheduled) == {body['FunctionName']['Ref'] for body in invoked.values()}
    for body in invoked.values():
        assert body['DestinationConfig']['OnFailure']['Destination'] == {'Fn::GetAtt': ['DeadLetterQueue', 'Arn']}
        timeout = functions[body['FunctionName']['Ref']]['Timeout']
        runs = 1 + body['MaximumRetryAttempts']
        assert runs * timeout + LAMBDA_PAUSE + alarm['Period'] * alarm['EvaluationPeriods'] <= 900
        assert body['MaximumEventAgeInSeconds'] + alarm['Period'] <= 900  # throttled, never run


def test_a_finding_reaches_the_threshold_of_its_alarm(plain: dict[str, Any]) -> None:
    alarm = of_type(plain, 'AWS::CloudWatch::Alarm')['AttentionAlarm']
    assert (alarm['MetricName'], alarm['Threshold']) == (telemetry.ATTENTION, telemetry.ALARM_AT)
    assert {why for why, points in telemetry.POINTS.items() if points >= alarm['Threshold']} == {
        'damage',
        'stopped',
        'stuck',
    }


def test_who_is_called_by_an_alarm_finds_what_to_do(plain: dict[str, Any]) -> None:
    told = (render.ROOT / 'docs' / 'how-to' / 'monitor.md').read_text()
    alarms = [name.removesuffix('Alarm') for name in of_type(plain, 'AWS::CloudWatch::Alarm')]
    assert [name for name in alarms if f'| {name} |' not in told] == []


def test_what_is_counted_for_free_is_not_counted_for_money(plain: dict[str, Any]) -> None:
    """Detailed metrics of a stage are custom metrics, several for each of its 400 methods."""
    for stage in of_type(plain, 'AWS::ApiGateway::Stage').values():
        assert not any(setting.get('MetricsEnabled') for setting in stage['MethodSettings'])


def test_the_api_has_one_stage(plain: dict[str, Any]) -> None:
    """A deployment that names a stage makes it: SAM does so for a stage ``Stage``, unless its property forbids it."""
    made = [body['StageName'] for body in of_type(plain, 'AWS::ApiGateway::Deployment').values() if 'StageName' in body]
    made += [body['StageName'] for body in of_type(plain, 'AWS::ApiGateway::Stage').values()]
    assert made == ['volume']


def test_requests_are_throttled_by_parameter(plain: dict[str, Any]) -> None:
    (stage,) = of_type(plain, 'AWS::ApiGateway::Stage').values()
    limits = {setting['ResourcePath']: setting['ThrottlingRateLimit']['Ref'] for setting in stage['MethodSettings']}
    assert limits == {'/*': 'ApiRateLimit', '/~1identity~1v3~1auth~1tokens': 'LoginRateLimit'}


def test_what_is_throttled_by_itself_is_a_method(plain: dict[str, Any]) -> None:
    """A setting for a method that does not exist is accepted, and limits nothing."""
    paths = of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['paths']
    (stage,) = of_type(plain, 'AWS::ApiGateway::Stage').values()
    for setting in stage['MethodSettings'][1:]:
        path = setting['ResourcePath'].removeprefix('/').replace('~1', '/')
        assert setting['HttpMethod'].lower() in paths[path]


def test_tables_survive_the_stack(plain: dict[str, Any]) -> None:
    for name, body in plain['Resources'].items():
        if body['Type'] in ('AWS::DynamoDB::Table', 'AWS::S3::Bucket', 'AWS::KMS::Key'):
            assert (body['DeletionPolicy'], body['UpdateReplacePolicy']) == ('Retain', 'Retain'), name
    for table in of_type(plain, 'AWS::DynamoDB::Table').values():
        assert table['DeletionProtectionEnabled'] is True
        assert table['PointInTimeRecoverySpecification'] == {'PointInTimeRecoveryEnabled': True}
        assert table['SSESpecification']['SSEType'] == 'KMS'


def test_the_dashboard_and_the_queue_are_named_after_the_stack(plain: dict[str, Any]) -> None:
    """Two stacks in one account must not meet."""
    for kind, key in (('AWS::SQS::Queue', 'QueueName'), ('AWS::CloudWatch::Dashboard', 'DashboardName')):
        assert all('AWS::StackName' in json.dumps(body[key]) for body in of_type(plain, kind).values()), kind


def test_every_role_takes_the_deployers_boundary(plain: dict[str, Any]) -> None:
    for name, body in of_type(plain, 'AWS::IAM::Role').items():
        assert body['PermissionsBoundary']['Fn::If'][:2] == ['HasBoundary', {'Ref': 'PermissionsBoundaryArn'}], name


def test_logs_of_requests_and_executions_are_a_parameter_and_hold_no_data(plain: dict[str, Any]) -> None:
    (stage,) = of_type(plain, 'AWS::ApiGateway::Stage').values()
    condition, logs, _ = stage['AccessLogSetting']['Fn::If']
    assert condition == 'HasAccessLogs'
    line = re.sub(r'"?\$context\.[\w.]+"?', '0', logs['Format'])
    assert set(json.loads(line)) == {
        'time',
        'request_id',
        'method',
        'path',
        'status',
        'bytes',
        'ms',
        'address',
        'error',
    }
    for body in of_type(plain, 'AWS::StepFunctions::StateMachine').values():
        condition, logging, _ = body['LoggingConfiguration']['Fn::If']
        assert (condition, logging['IncludeExecutionData']) == ('HasMachineLogs', False)


def test_the_api_may_be_behind_a_firewall_and_a_domain_alone(plain: dict[str, Any]) -> None:
    (acl,) = of_type(plain, 'AWS::WAFv2::WebACLAssociation').values()
    assert acl['ResourceArn']['Fn::Sub'].endswith('/restapis/${RestAPI}/stages/${RestAPIvolumeStage}')
    (api,) = of_type(plain, 'AWS::ApiGateway::RestApi').values()
    assert 'HasNoEndpointOfItsOwn' in json.dumps(api)
    (topic,) = of_type(plain, 'AWS::SNS::Topic').values()
    assert topic['KmsMasterKeyId']['Fn::If'][:2] == ['OwnKey', {'Ref': 'Key'}]


def test_snapstart_is_a_parameter_and_the_api_invokes_the_snapshot_with_it(plain: dict[str, Any]) -> None:
    assert plain['Parameters']['SnapStart']['Default'] == 'false'
    functions = of_type(plain, 'AWS::Lambda::Function')
    started = {name: body['SnapStart'] for name, body in functions.items() if 'SnapStart' in body}
    assert started == {'APIHandler': {'ApplyOn': {'Fn::If': ['HasSnapStart', 'PublishedVersions', 'None']}}}
    for name in ('ApiSnapshot', 'ApiAlias', 'ApiAliasInvokePermission'):
        assert plain['Resources'][name]['Condition'] == 'HasSnapStart'
    assert plain['Resources']['ApiSnapshot']['Properties']['Description'] == {'Ref': 'ApiVersion'}
    paths = of_type(plain, 'AWS::ApiGateway::RestApi')['RestAPI']['Body']['paths']
    integrations = [
        method['x-amazon-apigateway-integration']
        for methods in paths.values()
        for method in methods.values()
        if 'x-amazon-apigateway-integration' in method
    ]
    targets = {json.dumps(each['uri']['Fn::Sub'][1]) for each in integrations if 'uri' in each}
    assert targets == {json.dumps({'Api': render.API_ARN})}
