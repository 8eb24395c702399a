"""AWS as the rest of the service sees it: cached clients, the queue, the machines, the workers, sealed secrets.

Only this module, ``models``, ``drivers/ebs_client.py`` and ``backup/s3.py`` touch AWS.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import time
from typing import Any

from chalicelib import errors, telemetry
from chalicelib.config import settings

#: Seconds that a document (backends, identity, secrets) is trusted before it is read again: a change needs no deploy.
DOCUMENT_TTL = 60

#: A synchronous worker must answer below API Gateway's 29 s.
INVOKE_TIMEOUT = 27

#: Who the events of this service are from; their detail types are Cinder's.
EVENT_SOURCE = 'cinderless'


@functools.cache
def session() -> Any:
    """The process's one session of the SDK, DynamoDB's too: what it reads of its data files, it reads once.

    botocore's, not boto3's: a cold start would pay for resources that nothing here uses.
    """
    from botocore.session import get_session

    return get_session()


@functools.cache
def client(service: str, region: str = '') -> Any:
    """One client per service, region (ours when none is named) and process; botocore retries throttling by itself."""
    from botocore.config import Config

    config = Config(retries={'mode': 'standard', 'max_attempts': 4}, connect_timeout=5, read_timeout=60)
    return session().create_client(service, region_name=region or settings().region, config=config)


@functools.cache
def invoker() -> Any:
    """The client for synchronous workers: no retries and a bounded wait, since a retried invoke would attach twice."""
    from botocore.config import Config

    config = Config(retries={'total_max_attempts': 1}, connect_timeout=5, read_timeout=INVOKE_TIMEOUT)
    return session().create_client('lambda', region_name=settings().region, config=config)


def enqueue(message: dict[str, str]) -> None:
    """Hand accepted work to ``start_workflow``. The message carries ids only. At least once, in no order."""
    traced = {'StringValue': telemetry.trace_header(), 'DataType': 'String'}
    attributes = {'AWSTraceHeader': traced} if traced['StringValue'] else {}
    client('sqs').send_message(
        QueueUrl=settings().work_queue_url, MessageBody=json.dumps(message), MessageSystemAttributes=attributes
    )


@functools.cache
def _publisher() -> Any:
    """The client for events, which nobody may wait for: short of patience, and without a second attempt."""
    from botocore.config import Config

    config = Config(retries={'total_max_attempts': 1}, connect_timeout=1, read_timeout=2)
    return session().create_client('events', region_name=settings().region, config=config)


def publish(bus: str, kind: str, detail: str) -> None:
    """Put one event (JSON) on a bus of EventBridge. Raises ServiceUnavailable when the bus did not take it."""
    entry = {'EventBusName': bus, 'Source': EVENT_SOURCE, 'DetailType': kind, 'Detail': detail}
    answer = _publisher().put_events(Entries=[entry])
    if answer.get('FailedEntryCount'):
        raise errors.ServiceUnavailable(reason=f'EventBridge: {answer["Entries"][0].get("ErrorCode")}')


def execution_name(action: str, resource_id: str, request: str) -> str:
    """Name one run so that a redelivered message starts nothing twice.

    ``<action, 12>-<resource, 32 hex>-<request, 32 hex>``: names are at most 80 characters and stay taken for 90 days.
    """
    return f'{action[:12]}-{_hex(resource_id)}-{_hex(request)}'


def _hex(text: str) -> str:
    """32 hex digits of an id: its own where it is a (req-)uuid, else a digest."""
    digits = text.removeprefix('req-').replace('-', '').lower()
    if len(digits) == 32 and all(digit in '0123456789abcdef' for digit in digits):
        return digits
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def start_workflow(machine: str, name: str, payload: dict[str, Any]) -> str:
    """Start one execution and return its ARN; one that was started before under this name is success."""
    states = client('stepfunctions')
    header = telemetry.trace_header()
    traced = {'traceHeader': header} if header else {}
    try:
        started = states.start_execution(
            stateMachineArn=settings().state_machine_prefix + machine, name=name, input=json.dumps(payload), **traced
        )
    except states.exceptions.ExecutionAlreadyExists:
        return execution_arn(machine, name)
    return str(started['executionArn'])


def execution_arn(machine: str, name: str) -> str:
    return f'{settings().execution_prefix}{machine}:{name}'


def execution_status(arn: str) -> str | None:
    """RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED, or None for one that was never started."""
    states = client('stepfunctions')
    try:
        return str(states.describe_execution(executionArn=arn)['status'])
    except states.exceptions.ExecutionDoesNotExist:
        return None


def invoke(function: str, task: str, payload: dict[str, Any]) -> Any:
    """Run one task in a worker and return its result; the task's own error is raised here under its own class."""
    event = json.dumps({'task': task, 'input': payload})
    try:
        answer = invoker().invoke(FunctionName=function, Payload=event)
    except Exception as error:
        if not _is_connection_error(error):
            raise
        raise errors.BackendUnavailable(
            backend=task, reason=f'no answer within {INVOKE_TIMEOUT} s; repeat the request'
        ) from error
    result = json.loads(answer['Payload'].read() or b'null')
    if answer.get('FunctionError'):
        raise _task_error(result)
    return result


def _is_connection_error(error: Exception) -> bool:
    from botocore.exceptions import HTTPClientError

    return isinstance(error, HTTPClientError)


def _task_error(result: dict[str, Any]) -> errors.CinderlessError:
    kind = getattr(errors, str(result.get('errorType')), None)
    if isinstance(kind, type) and issubclass(kind, errors.CinderlessError):
        return kind(result.get('errorMessage'))
    return errors.CinderlessError()


_documents: dict[str, tuple[float, str]] = {}


def _cached(key: str, read: Any) -> str:
    known = _documents.get(key)
    if known is None or known[0] < time.monotonic():
        known = (time.monotonic() + DOCUMENT_TTL, str(read()))
        _documents[key] = known
    return known[1]


def parameter(name: str) -> str:
    """The text of an SSM parameter, at most ``DOCUMENT_TTL`` seconds old."""
    return _cached(
        f'ssm:{name}', lambda: client('ssm').get_parameter(Name=name, WithDecryption=True)['Parameter']['Value']
    )


def secret(name: str) -> str:
    """The text of a secret, at most ``DOCUMENT_TTL`` seconds old."""
    return _cached(f'secret:{name}', lambda: client('secretsmanager').get_secret_value(SecretId=name)['SecretString'])


def forget_documents() -> None:
    """Read parameters and secrets again at their next use."""
    _documents.clear()


def seal(text: str, purpose: str) -> str:
    """Encrypt a small secret for a record; it opens only for the same purpose (KMS encryption context)."""
    sealed = client('kms').encrypt(
        KeyId=settings().kms_key_id, Plaintext=text.encode(), EncryptionContext={'purpose': purpose}
    )
    return base64.b64encode(sealed['CiphertextBlob']).decode()


def unseal(sealed: str, purpose: str) -> str:
    opened = client('kms').decrypt(
        KeyId=settings().kms_key_id,
        CiphertextBlob=base64.b64decode(sealed),
        EncryptionContext={'purpose': purpose},
    )
    return str(opened['Plaintext'].decode())
