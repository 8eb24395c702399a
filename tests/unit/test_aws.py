"""AWS's errors as the project's own: the SDK's real retries over HTTP in front of moto, and all its error classes."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from chalicelib import aws, aws_errors, errors
from chalicelib.config import settings
from local.endpoint import Endpoint
from local.http import Request, Response
from tests import flaky
from tests.flaky import DONE, NOT_DONE, Flaky
from tests.small_dynamodb import refusal
from tests.unit.local.conftest import Clients
from tests.unit.local.conftest import aws as moto
from tests.unreliable import errors_of_botocore

__all__ = ['moto']

MACHINE = {'StartAt': 'End', 'States': {'End': {'Type': 'Succeed'}}}

#: The receipt of a message in the dead-letter queue of a test.
DEAD: dict[str, str] = {}

#: Every function of aws.py that calls AWS, and how.
CALLS: dict[str, Callable[[], Any]] = {
    'enqueue': lambda: aws.enqueue({'id': 'v'}),
    'receive_dead_letters': lambda: aws.receive_dead_letters(2),
    'dead_letter_count': aws.dead_letter_count,
    'move_dead_letter': lambda: aws.move_dead_letter('{}', DEAD['receipt']),
    'publish': lambda: aws.publish('bus', 'volume.create.end', '{}'),
    'start_workflow': lambda: aws.start_workflow('create_volume', 'name', {}),
    'execution_status': lambda: aws.execution_status(aws.execution_arn('create_volume', 'name')),
    'execution_events': lambda: aws.execution_events(aws.execution_arn('create_volume', 'name')),
    'invoke': lambda: aws.invoke('worker', 'report_backend', {}, seconds=3),
    'parameter': lambda: aws.parameter('/backends'),
    'document': lambda: aws.document('/backends'),
    'secret': lambda: aws.secret('keystone'),
    'seal': lambda: aws.seal('text', 'purpose'),
    'unseal': lambda: aws.unseal('AAAA', 'purpose'),
}

#: What makes clients or names, without a call.
NO_CALLS = {
    'session',
    'create_client',
    'whole_answers_only',
    'client',
    'invoker',
    'clients',
    'execution_arn',
    'forget_documents',
    'renew_documents',
}

#: Those with one attempt: a lost answer is an error at once.
ONCE = ('invoke',)


@pytest.fixture(autouse=True)
def no_documents() -> Iterator[None]:
    aws.forget_documents()
    yield
    aws.forget_documents()


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = settings()._replace(
        work_queue_url='https://sqs.us-east-1.amazonaws.com/123456789012/work',
        dead_letter_queue_url='https://sqs.us-east-1.amazonaws.com/123456789012/dead',
        state_machine_prefix='arn:aws:states:us-east-1:123456789012:stateMachine:cinderless-',
        execution_prefix='arn:aws:states:us-east-1:123456789012:execution:cinderless-',
        kms_key_id='alias/cinderless',
        region='us-east-1',
    )
    monkeypatch.setattr(aws, 'settings', lambda: known)


@pytest.fixture
def network(
    request: pytest.FixtureRequest, deployed: None, moto: Clients, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flaky]:
    """moto over HTTP, with what the calls need."""
    moto('sqs').create_queue(QueueName='work')
    dead = moto('sqs').create_queue(QueueName='dead')['QueueUrl']
    moto('sqs').send_message(QueueUrl=dead, MessageBody='{}')
    DEAD['receipt'] = moto('sqs').receive_message(QueueUrl=dead)['Messages'][0]['ReceiptHandle']
    moto('events').create_event_bus(Name='bus')
    role = 'arn:aws:iam::123456789012:role/machines'
    moto('stepfunctions').create_state_machine(
        name='cinderless-create_volume', definition=json.dumps(MACHINE), roleArn=role
    )
    moto('ssm').put_parameter(Name='/backends', Value='document', Type='String')
    moto('secretsmanager').create_secret(Name='keystone', SecretString='password')
    key = moto('kms').create_key()['KeyMetadata']['KeyId']
    moto('kms').create_alias(AliasName='alias/cinderless', TargetKeyId=key)
    monkeypatch.setattr(aws, 'READ_TIMEOUT', flaky.patience(request))
    with flaky.serving(Endpoint(None)) as network, flaky.reached_over_http(network, monkeypatch):
        yield network


def repeating() -> dict[str, Callable[[], Any]]:
    return {name: call for name, call in CALLS.items() if name not in ONCE}


@pytest.mark.parametrize('fault', [*DONE, *NOT_DONE])
@pytest.mark.parametrize('name', repeating())
def test_a_fault_of_the_network_is_waited_out(name: str, fault: str, network: Flaky) -> None:
    expected = {
        'parameter': 'document',
        'document': 'document',
        'secret': 'password',
        'execution_status': None,
        'execution_events': None,
    }
    call = (lambda: aws.unseal(aws.seal('text', 'p'), 'p')) if name == 'unseal' else CALLS[name]
    network.faults = [fault]
    found = call()
    assert network.seen[0] == fault
    assert network.seen[1] == 'none'
    assert found == expected.get(name, found)


def test_a_start_whose_answer_is_lost_starts_once(network: Flaky, moto: Clients) -> None:
    network.faults = ['closed', '500 after', 'half']
    arn = aws.start_workflow('create_volume', 'name', {})
    assert aws.start_workflow('create_volume', 'name', {}) == arn
    machine = f'{aws.settings().state_machine_prefix}create_volume'
    assert [one['executionArn'] for one in moto('stepfunctions').list_executions(stateMachineArn=machine)['executions']]
    assert aws.execution_status(arn) in ('RUNNING', 'SUCCEEDED')


@pytest.mark.parametrize('fault', ['closed', 'throttled'])
@pytest.mark.parametrize('name', CALLS)
def test_what_the_sdk_gives_up_is_transient(name: str, fault: str, network: Flaky) -> None:
    network.faults = [fault] * 10
    with pytest.raises(errors.ServiceUnavailable) as caught:
        CALLS[name]()
    assert caught.value.is_transient
    assert caught.value.may_be_done or (fault == 'throttled' and name in ONCE)
    assert len(network.seen) == (1 if name in ONCE else 4)


def test_what_nobody_serves_is_not_done(deployed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with flaky.serving(lambda _: Response(200, [])) as closed:
        pass
    with flaky.reached_over_http(closed, monkeypatch), pytest.raises(errors.ServiceUnavailable) as caught:
        CALLS['invoke']()
    assert not caught.value.may_be_done


@pytest.mark.parametrize('name', ['parameter', 'secret'])
def test_a_name_that_is_unknown_is_refused(name: str, network: Flaky) -> None:
    with pytest.raises(errors.AwsRefused):
        getattr(aws, name)('nowhere')
    assert network.seen == ['none']


# Documents.


@pytest.mark.parametrize(('name', 'text'), [('parameter', 'document'), ('secret', 'password')])
def test_an_old_document_serves_while_it_cannot_be_read_again(
    name: str, text: str, network: Flaky, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1000.0
    monkeypatch.setattr(aws.time, 'monotonic', lambda: now)
    assert CALLS[name]() == text
    network.faults = ['closed'] * 1000
    for now in (1061.0, 1061.0 + aws.DOCUMENT_PAUSE, 999.0 + aws.DOCUMENT_MAX_AGE):  # noqa: B007 - read by the clock
        assert CALLS[name]() == text
    assert 'is used' in caplog.text
    asked = len(network.seen)
    assert CALLS[name]() == text
    assert len(network.seen) == asked, 'an attempt of each request would make all of them slow'
    now = 1061.0 + aws.DOCUMENT_MAX_AGE
    with pytest.raises(errors.ServiceUnavailable):
        CALLS[name]()
    network.faults = []
    assert CALLS[name]() == text


def test_a_document_that_is_gone_is_not_served(network: Flaky, moto: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(aws.time, 'monotonic', lambda: now)
    assert aws.parameter('/backends') == 'document'
    moto('ssm').delete_parameter(Name='/backends')
    now = 1061.0
    with pytest.raises(errors.AwsRefused):
        aws.parameter('/backends')


# Secrets.


def test_what_was_sealed_opens_after_a_change_of_the_key(network: Flaky, moto: Clients) -> None:
    sealed = aws.seal('secret', 'attachment')
    other = moto('kms').create_key()['KeyMetadata']['KeyId']
    moto('kms').update_alias(AliasName='alias/cinderless', TargetKeyId=other)
    assert aws.unseal(sealed, 'attachment') == 'secret'
    with pytest.raises(errors.AwsRefused):
        aws.unseal(sealed, 'another attachment')


@pytest.mark.parametrize('code', ['DisabledException', 'KMSInvalidStateException'])
def test_a_key_that_is_disabled_answers_503_and_names_what_to_do(network: Flaky, code: str) -> None:
    network.upstream = lambda request: flaky.refusal(request, 400, code)
    with pytest.raises(errors.EncryptionKeyDisabled) as caught:
        aws.seal('secret', 'attachment')
    assert (caught.value.code, caught.value.facts['code'], caught.value.is_transient) == (503, code, True)
    assert 'has enabled it' in caught.value.message
    with pytest.raises(errors.EncryptionKeyDisabled):
        aws.unseal('c2VhbGVk', 'attachment')


@pytest.mark.parametrize(
    ('call', 'code'),
    [
        (lambda: aws.secret('name'), 'DecryptionFailure'),
        (lambda: aws.parameter('/name'), 'InvalidKeyId'),
        (lambda: aws.enqueue({'action': 'create'}), 'KmsDisabled'),
        (lambda: aws.enqueue({'action': 'create'}), 'KMS.DisabledException'),
        (lambda: aws.execution_status('arn'), 'KmsInvalidStateException'),
        (lambda: aws.invoke('worker', 'task', {}), 'KMSDisabledException'),
    ],
)
def test_a_disabled_key_is_the_same_error_wherever_aws_uses_it(
    network: Flaky, call: Callable[[], Any], code: str
) -> None:
    network.upstream = lambda request: flaky.refusal(request, 400, code)
    aws.forget_documents()
    with pytest.raises(errors.EncryptionKeyDisabled):
        call()


def test_no_code_of_a_key_s_state_is_a_permanent_error() -> None:
    """Every error of the operations that this service calls, as the SDK's models name them."""
    named = {
        error.metadata.get('error', {}).get('code', error.name)
        for service, operations in CALLED.items()
        for operation in operations
        for error in aws.session().get_service_model(service).operation_model(operation).error_shapes
    }
    states = {code for code in named if re.search('Disabled|InvalidState|Decrypt', code)}
    assert len(states) >= 5
    assert states <= aws_errors.KEY_DISABLED
    busy = {code for code in named if re.search('Throttl|TooMany|LimitExceeded', code)} - {'TooManyParts'}
    assert busy <= aws_errors.THROTTLED | aws_errors.NOT_READY | {'ItemCollectionSizeLimitExceededException'}


#: Operations by their service.
CALLED = {
    'kms': ('Encrypt', 'Decrypt', 'GenerateDataKey'),
    'secretsmanager': ('GetSecretValue',),
    'ssm': ('GetParameter',),
    's3': ('GetObject', 'PutObject', 'HeadObject', 'CopyObject', 'ListObjectsV2', 'DeleteObjects'),
    'lambda': ('Invoke',),
    'sqs': ('SendMessage', 'ReceiveMessage', 'DeleteMessage', 'GetQueueAttributes'),
    'stepfunctions': ('StartExecution', 'DescribeExecution'),
    'events': ('PutEvents',),
    'dynamodb': ('GetItem', 'PutItem', 'UpdateItem', 'Query', 'Scan', 'TransactWriteItems'),
}

# Workers.


@pytest.fixture
def worker(deployed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    """A function whose answer a test chooses."""
    with flaky.serving(lambda _: answered('done')) as network, flaky.reached_over_http(network, monkeypatch):
        yield network


def answered(result: Any, failed: bool = False) -> Response:
    headers = [('X-Amz-Function-Error', 'Unhandled')] if failed else []
    return Response(200, [('Content-Type', 'application/json'), *headers], json.dumps(result).encode())


def test_a_worker_answers(worker: Flaky) -> None:
    requests: list[Request] = []
    worker.upstream = lambda request: (requests.append(request), answered({'pools': 2}))[1]
    assert aws.invoke('worker', 'report_backend', {'backend': 'b'}) == {'pools': 2}
    assert json.loads(requests[0].body) == {'task': 'report_backend', 'input': {'backend': 'b'}}


@pytest.mark.parametrize('fault', [*DONE, 'closed before', '500 before'])
def test_a_lost_answer_of_a_worker_is_unknown_and_not_repeated(fault: str, worker: Flaky) -> None:
    worker.faults = [fault]
    with pytest.raises(errors.WorkerUnavailable) as caught:
        CALLS['invoke']()
    assert caught.value.may_be_done
    assert isinstance(caught.value, errors.BackendUnavailable)
    assert worker.seen == [fault]


@pytest.mark.parametrize(
    ('status', 'code'),
    [
        (429, 'TooManyRequestsException'),
        (502, 'ResourceNotReadyException'),
        (502, 'ENILimitReachedException'),
        (502, 'EC2ThrottledException'),
        (409, 'ResourceConflictException'),
        (409, 'SnapStartNotReadyException'),
    ],
)
def test_a_worker_that_did_not_begin_is_told_apart(status: int, code: str, worker: Flaky) -> None:
    worker.upstream = lambda request: flaky.refusal(request, status, code)
    with pytest.raises(errors.ServiceUnavailable) as caught:
        CALLS['invoke']()
    assert not caught.value.may_be_done
    assert not isinstance(caught.value, errors.DriverError)


@pytest.mark.parametrize(
    ('result', 'expected'),
    [
        ({'errorType': 'VolumeIsBusy', 'errorMessage': 'busy'}, errors.VolumeIsBusy),
        ({'errorType': 'KeyError', 'errorMessage': "'x'"}, errors.CinderlessError),
        ({'errorType': 'Runtime.ExitError', 'errorMessage': 'exit status 1'}, errors.WorkerUnavailable),
        ({'errorType': 'Sandbox.Timedout', 'errorMessage': 'Task timed out after 900 s'}, errors.WorkerUnavailable),
        ({'errorMessage': 'Task timed out after 900.1 seconds'}, errors.WorkerUnavailable),
    ],
)
def test_a_task_s_error_has_its_own_class(result: Any, expected: type[Exception], worker: Flaky) -> None:
    worker.upstream = lambda _: answered(result, failed=True)
    with pytest.raises(errors.CinderlessError) as caught:
        CALLS['invoke']()
    assert type(caught.value) is expected


# Every class.


def test_every_function_that_calls_aws_is_among_those_tested() -> None:
    own = {
        name
        for name, found in vars(aws).items()
        if callable(found) and getattr(found, '__module__', '') == aws.__name__ and not inspect.isclass(found)
    }
    assert {name for name in own if not name.startswith('_')} == set(CALLS) | NO_CALLS


@pytest.mark.parametrize('name', CALLS)
def test_every_error_of_the_sdk_is_one_of_ours(name: str, deployed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in errors_of_botocore():

        def fail(*_: Any, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, '_make_api_call', fail)
            with pytest.raises(errors.CinderlessError) as caught:
                CALLS[name]()
        assert caught.value.code in (500, 503), error
        assert str(error) not in caught.value.message


@pytest.mark.parametrize(
    ('code', 'status', 'retries', 'expected'),
    [
        ('ThrottlingException', 400, 0, errors.ServiceUnavailable),
        ('ThrottlingException', 400, 2, errors.OutcomeUnknown),
        ('AccessDeniedException', 400, 0, errors.AwsRefused),
        ('InternalServerError', 500, 0, errors.OutcomeUnknown),
        ('RequestTimeout', 400, 0, errors.OutcomeUnknown),
        ('SomethingNew', 429, 0, errors.ServiceUnavailable),
        ('SomethingNew', 503, 0, errors.OutcomeUnknown),
        ('SomethingNew', 418, 0, errors.AwsRefused),
    ],
)
def test_an_answer_says_what_may_be_done(code: str, status: int, retries: int, expected: type[Exception]) -> None:
    about = {'HTTPStatusCode': status, 'RetryAttempts': retries}
    found = aws_errors.translation(refusal(code, 'No.', ResponseMetadata=about), 'sqs:SendMessage')
    assert type(found) is expected


def test_an_error_of_another_origin_passes() -> None:
    with pytest.raises(KeyError), aws_errors.translated('sqs:SendMessage'):
        raise KeyError('a fault of the caller')
