"""Named retry policies: what they repeat, and that an outage is survived surely, whatever jitter draws."""

from __future__ import annotations

import math
from typing import Any

import botocore.session
import pytest

from chalicelib import errors
from infra import retries

#: Errors of Lambda's Invoke that last until the function, its settings or the request change.
LASTING = {
    'CodeArtifactUserDeletedException', 'CodeArtifactUserFailedException', 'DurableExecutionAlreadyStartedException',
    'EC2AccessDeniedException', 'InvalidParameterValueException', 'InvalidRequestContentException',
    'InvalidRuntimeException', 'InvalidSecurityGroupIDException', 'InvalidSubnetIDException',
    'InvalidZipFileException', 'KMSAccessDeniedException', 'KMSDisabledException', 'KMSInvalidStateException',
    'KMSNotFoundException', 'ModeNotSupportedException', 'NoPublishedVersionException',
    'RecursiveInvocationException', 'RequestTooLargeException', 'ResourceNotFoundException',
    'RuntimeAliasDeletedException', 'RuntimeVersionDeletedException', 'SerializedRequestEntityTooLargeException',
    'ServiceQuotaExceededException', 'SnapStartException', 'SnapStartRegenerationFailureException',
    'UnsupportedMediaTypeException',
}  # fmt: skip

#: Errors of file systems, which no function of this service mounts.
MOUNTS = ('EFS', 'S3Files')

#: Most likely share of outages that a policy may fail to survive.
RISK = 1e-9


def test_every_error_of_lambdas_invoke_is_transient_or_lasting() -> None:
    """AWS's own list, as the SDK has it."""
    client = botocore.session.get_session().create_client('lambda', region_name='us-east-1')
    shapes = client.meta.service_model.operation_model('Invoke').error_shapes
    listed = {shape.name for shape in shapes if not shape.name.startswith(MOUNTS)}
    assert listed - {name.removeprefix('Lambda.') for name in retries.AWS_TRANSIENT} <= LASTING
    assert not LASTING & {name.removeprefix('Lambda.') for name in retries.AWS_TRANSIENT}


def test_errors_of_step_functions_own_page() -> None:
    page = {'ClientExecutionTimeoutException', 'ServiceException', 'AWSLambdaException', 'SdkClientException'}
    assert {f'Lambda.{name}' for name in page} <= set(retries.AWS_TRANSIENT)


@pytest.mark.parametrize(
    ('policy', 'error'),
    [
        ('aws', 'ServiceUnavailable'),
        ('aws', 'Lambda.ENINotReadyException'),
        ('backend', 'BackendUnavailable'),
        ('backend', 'NotReady'),
        ('data', 'DeviceUnreachable'),
        ('data', 'RepositoryError'),
    ],
)
def test_an_outage_is_survived_surely(policy: str, error: str) -> None:
    [retrier] = [one for one in retries.rendered([policy]) if error in one['ErrorEquals']]
    needed = retries.OUTAGE + (0 if policy == 'aws' else retries.REPORT)
    assert chance_of_less(needed, delays(retrier)) < RISK


def delays(retrier: dict[str, Any]) -> list[float]:
    """The intervals that jitter draws from."""
    grown = (retrier['IntervalSeconds'] * retrier['BackoffRate'] ** number for number in range(retrier['MaxAttempts']))
    return [min(interval, retrier['MaxDelaySeconds']) for interval in grown]


def chance_of_less(seconds: float, intervals: list[float]) -> float:
    """An upper bound of the chance that delays drawn evenly from these intervals sum up to less (Chernoff's bound)."""
    bounds = []
    for step in range(1, 400):
        rate = step / 100
        log = rate * seconds + sum(math.log((1 - math.exp(-rate * one)) / (rate * one)) for one in intervals)
        bounds.append(math.exp(min(log, 0)))
    return min(bounds)


def test_a_class_stands_for_its_subclasses_but_for_those_that_last() -> None:
    assert {'BackendUnavailable', 'NotReady'} <= set(retries.expanded(['BackendUnavailable']))
    assert retries.expanded(['States.ALL']) == ['States.ALL']
    names = {name for retrier in retries.rendered(['data']) for name in retrier['ErrorEquals']}
    assert {'DeviceTimeout', 'LoginFailed', 'ProtocolError', 'KeyUnavailable'} <= names
    assert not names & retries.PERMANENT
    assert all(issubclass(getattr(errors, name), errors.CinderlessError) for name in retries.PERMANENT)


def test_an_error_belongs_to_the_first_retrier_that_names_it() -> None:
    own = {
        'ErrorEquals': ['DriverError'],
        'IntervalSeconds': 1,
        'BackoffRate': 2,
        'MaxDelaySeconds': 9,
        'MaxAttempts': 3,
    }
    first, *_, last = retries.rendered(['backend', own])
    assert first['ErrorEquals'] == ['NotReady']
    assert 'BackendFull' in last['ErrorEquals']
    assert not {'NotReady', 'BackendUnavailable'} & {*last['ErrorEquals']}


@pytest.mark.parametrize(('retry', 'named'), [(['patiently'], 'patiently'), (['data', 'Backend'], 'Backend')])
def test_unknown_policies_are_refused(retry: list[str], named: str) -> None:
    with pytest.raises(KeyError, match=named):
        retries.rendered(retry)


@pytest.mark.parametrize('name', ['BackendGone', 'annotations'])
def test_unknown_errors_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        retries.expanded([name])
