"""The service's access to AWS: cached clients, the queue, state machines, workers, encrypted secrets.

Only this module, ``models``, ``drivers/ebs_client.py`` and ``backup/s3.py`` use AWS. Calls here raise SDK errors as
translated by aws_errors.py: ServiceUnavailable (not done, retry), OutcomeUnknown (may be done) or AwsRefused
(permanent).
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import random
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from chalicelib import errors, telemetry
from chalicelib.aws_errors import translated
from chalicelib.config import settings
from chalicelib.jitter import jittered

logger = logging.getLogger(__name__)

#: Seconds for which a document (backends, identity, secrets) is cached: a change needs no deployment.
DOCUMENT_TTL = 60

#: Seconds since its last reading for which a document is still used while it cannot be read again.
DOCUMENT_MAX_AGE = 3600

#: Longest pause in seconds between two attempts to read a document that could not be read.
DOCUMENT_PAUSE = 10.0

#: Seconds for a connection, and for an answer of each service; including retries below API Gateway's 29 s, except for
#: objects in S3, which only workers read and write.
CONNECT_TIMEOUT, READ_TIMEOUT, READ_TIMEOUTS = 2, 5, {'s3': 60}

#: A synchronous worker must answer below API Gateway's 29 s.
INVOKE_TIMEOUT = 27

#: Source of this service's events; their detail types are Cinder's.
EVENT_SOURCE = 'cinderless'

#: Attempts to publish an event, and the mean seconds before the second one.
PUBLISHES, PUBLISH_PAUSE = 4, 0.1

#: Codes of a refused event that may be accepted when it is sent again.
PASSING = frozenset({'InternalException', 'InternalFailure', 'ThrottlingException'})


#: Clients whose connections a restored environment closes (api/snapstart.py).
_clients: weakref.WeakSet[Any] = weakref.WeakSet()


@functools.cache
def session() -> Any:
    """The process's only SDK session, also for DynamoDB, so that the SDK's data files are read once.

    botocore's instead of boto3's: boto3's resources would slow a cold start, and nothing here uses them.
    """
    from botocore.session import get_session

    return get_session()


def create_client(service: str, region: str, **options: Any) -> Any:
    """Return a new SDK client. ``options`` are those of botocore.config.Config."""
    from botocore.config import Config

    created = whole_answers_only(session().create_client(service, region_name=region, config=Config(**options)))
    _clients.add(created)
    return created


def whole_answers_only(client: Any) -> Any:
    """Make a client treat a truncated answer as no answer: the SDK takes what arrived as complete."""
    from botocore.exceptions import ConnectionClosedError

    http = client._endpoint.http_session
    send = http.send

    def checked(request: Any) -> Any:
        answer = send(request)
        length = answer.headers.get('content-length')
        if length and not request.stream_output and request.method != 'HEAD' and len(answer.content) < int(length):
            raise ConnectionClosedError(endpoint_url=request.url)
        return answer

    http.send = checked
    return client


def clients() -> Iterator[Any]:
    """Every client that ``create_client`` has returned and that still exists."""
    return iter(_clients)


@functools.cache
def client(service: str, region: str = '') -> Any:
    """One client per service, region (default: this function's) and process; botocore retries throttled calls."""
    wait = READ_TIMEOUTS.get(service, READ_TIMEOUT)
    retries = {'mode': 'standard', 'total_max_attempts': 4}
    region = region or settings().region
    return create_client(service, region, retries=retries, connect_timeout=CONNECT_TIMEOUT, read_timeout=wait)


@functools.cache
def invoker(seconds: int = INVOKE_TIMEOUT) -> Any:
    """The client for synchronous workers: bounded time and no retries, since a retried invoke would attach twice."""
    once = {'total_max_attempts': 1}
    patience = {'connect_timeout': CONNECT_TIMEOUT, 'read_timeout': seconds}
    return create_client('lambda', settings().region, retries=once, **patience)


def enqueue(message: dict[str, Any]) -> None:
    """Send accepted work to ``start_workflow``, at least once, unordered. The message carries ids only."""
    traced = {'StringValue': telemetry.trace_header(), 'DataType': 'String'}
    attributes = {'AWSTraceHeader': traced} if traced['StringValue'] else {}
    with translated('sqs:SendMessage'):
        client('sqs').send_message(
            QueueUrl=settings().work_queue_url, MessageBody=json.dumps(message), MessageSystemAttributes=attributes
        )


def receive_dead_letters(hidden: int) -> list[dict[str, Any]]:
    """Return up to ten visible messages of the dead-letter queue, and hide them for ``hidden`` seconds."""
    with translated('sqs:ReceiveMessage'):
        found = client('sqs').receive_message(
            QueueUrl=settings().dead_letter_queue_url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=hidden,
            MessageSystemAttributeNames=['SentTimestamp'],
        )
    return list(found.get('Messages', []))


def dead_letter_count() -> int:
    """Return about how many messages the dead-letter queue has, hidden ones included."""
    names = ['ApproximateNumberOfMessages', 'ApproximateNumberOfMessagesNotVisible']
    with translated('sqs:GetQueueAttributes'):
        url = settings().dead_letter_queue_url
        found = client('sqs').get_queue_attributes(QueueUrl=url, AttributeNames=names)['Attributes']
    return sum(int(found[name]) for name in names)


def move_dead_letter(body: str, receipt: str) -> None:
    """Send a dead letter to the work queue, then remove it. It may be sent again if this ends in between."""
    with translated('sqs:SendMessage'):
        client('sqs').send_message(QueueUrl=settings().work_queue_url, MessageBody=body)
    with translated('sqs:DeleteMessage'):
        client('sqs').delete_message(QueueUrl=settings().dead_letter_queue_url, ReceiptHandle=receipt)


@functools.cache
def _publisher() -> Any:
    """The client for events: short time-outs and few retries, since work waits for its events."""
    retries = {'mode': 'standard', 'total_max_attempts': PUBLISHES}
    return create_client('events', settings().region, retries=retries, connect_timeout=1, read_timeout=2)


def publish(bus: str, kind: str, detail: str) -> None:
    """Put one event (JSON) on an EventBridge bus. Raises ServiceUnavailable when the bus did not accept it.

    An entry may be refused in a successful response, which the SDK does not repeat. A repeated event has the same
    ``message_id``.
    """
    entry = {'EventBusName': bus, 'Source': EVENT_SOURCE, 'DetailType': kind, 'Detail': detail}
    code = None
    for attempt in range(PUBLISHES):
        with translated('events:PutEvents'):
            answer = _publisher().put_events(Entries=[entry])
        if not answer.get('FailedEntryCount'):
            return
        code = answer['Entries'][0].get('ErrorCode')
        if code not in PASSING or attempt == PUBLISHES - 1:
            break
        time.sleep(jittered(PUBLISH_PAUSE * 2**attempt))
    raise errors.ServiceUnavailable(reason=f'EventBridge: {code}')


def start_workflow(machine: str, name: str, payload: dict[str, Any]) -> str:
    """Start one execution and return its ARN; an execution that exists under this name is success."""
    header = telemetry.trace_header()
    traced = {'traceHeader': header} if header else {}
    arn = settings().state_machine_prefix + machine
    with translated('states:StartExecution'):
        states = client('stepfunctions')
        try:
            started = states.start_execution(stateMachineArn=arn, name=name, input=json.dumps(payload), **traced)
        except states.exceptions.ExecutionAlreadyExists:
            return execution_arn(machine, name)
    return str(started['executionArn'])


def execution_arn(machine: str, name: str) -> str:
    return f'{settings().execution_prefix}{machine}:{name}'


def execution_status(arn: str) -> str | None:
    """Return RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or None for an execution that was never started."""
    with translated('states:DescribeExecution'):
        states = client('stepfunctions')
        try:
            return str(states.describe_execution(executionArn=arn)['status'])
        except states.exceptions.ExecutionDoesNotExist:
            return None


#: Events of an execution that are read at most: a page of Step Functions.
MAX_EVENTS = 1000


def execution_events(arn: str) -> list[dict[str, Any]] | None:
    """Return the first ``MAX_EVENTS`` events of an execution, oldest first; None when it was never started."""
    with translated('states:GetExecutionHistory'):
        states = client('stepfunctions')
        try:
            answer = states.get_execution_history(executionArn=arn, maxResults=MAX_EVENTS)
        except states.exceptions.ExecutionDoesNotExist:
            return None
    return list(answer['events'])


def invoke(function: str, task: str, payload: dict[str, Any], *, seconds: float = INVOKE_TIMEOUT) -> Any:
    """Run one task in a worker and return its result; the task's error is raised here with its own class.

    ``seconds``: the longest wait, connection included. Raises ServiceUnavailable when the worker did not start
    (throttled, not ready), WorkerUnavailable when it may have (no answer in time, a worker that died), AwsRefused when
    it never will. There are no retries: the caller knows its deadline.
    """
    event = json.dumps({'task': task, 'input': payload})
    try:
        with translated('lambda:Invoke', sent_once=True):
            answer = invoker(max(1, int(seconds) - CONNECT_TIMEOUT)).invoke(FunctionName=function, Payload=event)
            body = answer['Payload'].read()
    except errors.OutcomeUnknown as error:
        raise errors.WorkerUnavailable(backend=task, code=error.facts['code']) from error
    result = json.loads(body or b'null')
    if answer.get('FunctionError'):
        raise _task_error(task, result)
    return result


def _task_error(task: str, result: dict[str, Any]) -> errors.CinderlessError:
    """Return a task's error by class name. A worker that was killed (time, memory) has no class of its own."""
    name = str(result.get('errorType', 'Sandbox.Timedout'))
    if name.startswith(('Sandbox.', 'Runtime.')):
        logger.error('the worker of %s was killed: %s', task, name)
        return errors.WorkerUnavailable(backend=task, code=name)
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.CinderlessError):
        return kind(result.get('errorMessage'))
    return errors.CinderlessError()


class _Document(NamedTuple):
    """``read_at`` and ``due`` (the time of the next reading) are of the monotonic clock."""

    text: str
    read_at: float
    due: float


_documents: dict[str, _Document] = {}


def _cached(key: str, read: Callable[[], Any]) -> str:
    """Return a document, read again when due; the cached one while AWS cannot be reached, unless it is too old.

    Only a transient failure uses the cache: a document that was deleted or forbidden is an error at once.
    """
    cached, now = _documents.get(key), time.monotonic()
    if cached is not None and now < cached.due:
        return cached.text
    try:
        with translated(key):
            text = str(read())
    except errors.ServiceUnavailable:
        if cached is None or now - cached.read_at > DOCUMENT_MAX_AGE:
            raise
        logger.warning('%s cannot be read; the text of %.0f s ago is used', key, now - cached.read_at)
        pause = random.uniform(DOCUMENT_PAUSE / 2, DOCUMENT_PAUSE)  # noqa: S311 - jitter, no secret
        _documents[key] = cached._replace(due=now + pause)
        return cached.text
    _documents[key] = _Document(text, now, now + DOCUMENT_TTL)
    return text


def parameter(name: str) -> str:
    """Return the text of an SSM parameter, at most ``DOCUMENT_TTL`` seconds old; older while SSM is unreachable."""
    return _cached(
        f'ssm:{name}', lambda: client('ssm').get_parameter(Name=name, WithDecryption=True)['Parameter']['Value']
    )


def document(text: str) -> str:
    """Return a setting's text; a setting that begins with / is the name of an SSM parameter with the text.

    Documents are too long for a function's environment, which is limited to 4 KB.
    """
    return parameter(text) if text.startswith('/') else text


def secret(name: str) -> str:
    """Return the text of a secret, at most ``DOCUMENT_TTL`` seconds old; older while its store is unreachable.

    A name that begins with / is a SecureString of the SSM parameter store, any other a secret of Secrets Manager.
    """
    if name.startswith('/'):
        return parameter(name)
    return _cached(f'secret:{name}', lambda: client('secretsmanager').get_secret_value(SecretId=name)['SecretString'])


def renew_documents() -> None:
    """Read parameters and secrets again at their next use; the cached texts are used while that fails."""
    for key, cached in _documents.items():
        _documents[key] = cached._replace(due=0.0)


def forget_documents() -> None:
    """Read parameters and secrets again at their next use."""
    _documents.clear()


def seal(text: str, purpose: str) -> str:
    """Encrypt a small secret for a record; it opens only for the same purpose (KMS encryption context)."""
    with translated('kms:Encrypt'):
        sealed = client('kms').encrypt(
            KeyId=settings().kms_key_id, Plaintext=text.encode(), EncryptionContext={'purpose': purpose}
        )
    return base64.b64encode(sealed['CiphertextBlob']).decode()


def unseal(sealed: str, purpose: str) -> str:
    """Decrypt what ``seal`` returned. It names its KMS key, so it can be opened after a change of the key."""
    with translated('kms:Decrypt'):
        opened = client('kms').decrypt(CiphertextBlob=base64.b64decode(sealed), EncryptionContext={'purpose': purpose})
    return str(opened['Plaintext'].decode())
