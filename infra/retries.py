"""Retry policies of the state machines, by name, and the names of errors that Step Functions compares.

A state has ``Retry: [aws, backend]``; ``infra/asl.py`` replaces each name by its retriers. Step Functions compares
names of errors, not classes, so a class includes all its subclasses in ``chalicelib/errors``.

Every retrier has full jitter: Step Functions draws each delay between 0 and the interval, so the number of attempts,
not the interval, decides that the work survives an outage (``OUTAGE``; computed in
``tests/unit/infra/test_retries.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib import errors

#: Seconds for which AWS, a backend or its data may be unavailable without an operation failing.
OUTAGE = 60

#: Seconds for the renewed report of a backend that answers again, for work that waits for it (tasks/placement.py).
REPORT = 60

#: AWS's transient errors of a Lambda invocation. The first four are named on Step Functions' page "Handle Lambda
#: service exceptions"; the others are the errors of Lambda's Invoke that go away without a change of the function.
AWS_TRANSIENT = (
    'Lambda.AWSLambdaException',
    'Lambda.ClientExecutionTimeoutException',
    'Lambda.SdkClientException',
    'Lambda.ServiceException',
    'Lambda.CodeArtifactUserPendingException',
    'Lambda.EC2ThrottledException',
    'Lambda.EC2UnexpectedException',
    'Lambda.ENILimitReachedException',
    'Lambda.ENINotReadyException',
    'Lambda.ResourceConflictException',
    'Lambda.ResourceNotReadyException',
    'Lambda.SnapStartNotReadyException',
    'Lambda.SnapStartTimeoutException',
    'Lambda.SubnetIPAddressLimitReachedException',
    'Lambda.TooManyRequestsException',
)

#: The reported errors of a worker that crashed or ran out of time or memory.
CRASHED = ('Lambda.Unknown', 'Sandbox.Timedout', 'Runtime.ExitError', 'States.Timeout')

#: Subclasses that a retry cannot fix, although their base class is retried.
PERMANENT = frozenset({'InvalidRange', 'ObjectExists', 'ObjectMissing'})


#: The errors of the service; a base class precedes its subclasses.
_CLASSES: Mapping[str, type[errors.CinderlessError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.CinderlessError)
}


class Retrier(NamedTuple):
    """One retrier: names of errors, seconds before the first retry, growth, seconds at most, and attempts."""

    errors: tuple[str, ...]
    interval: int
    rate: float
    longest: int
    attempts: int

    def rendered(self, names: list[str]) -> dict[str, Any]:
        """Return the retrier in the Amazon States Language, for these names."""
        return {
            'ErrorEquals': names,
            'IntervalSeconds': self.interval,
            'BackoffRate': self.rate,
            'MaxDelaySeconds': self.longest,
            'MaxAttempts': self.attempts,
            'JitterStrategy': 'FULL',
        }


_CRASH = Retrier(CRASHED, interval=1, rate=2, longest=10, attempts=2)

POLICIES: Mapping[str, tuple[Retrier, ...]] = {
    # AWS or a required service does not answer. After an idle month Lambda creates new network interfaces, which
    # takes minutes. A crashed worker is retried twice: three crashes are not transient.
    'aws': (Retrier((*AWS_TRANSIENT, 'ServiceUnavailable'), interval=2, rate=2, longest=20, attempts=25), _CRASH),
    # The backend does not answer, or (the first retrier) still creates the object: EC2 takes up to an hour.
    'backend': (
        Retrier(('NotReady',), interval=10, rate=1.5, longest=30, attempts=240),
        Retrier(('BackendUnavailable',), interval=2, rate=2, longest=10, attempts=60),
    ),
    # The data is unreachable: the volume's device, the backup repository or its key. A device that answers with an
    # error will most likely do so again.
    'data': (
        Retrier(('CheckCondition',), interval=2, rate=2, longest=10, attempts=5),
        Retrier(('DeviceError', 'RepositoryError', 'KeyUnavailable'), interval=2, rate=2, longest=10, attempts=60),
    ),
    # Another operation uses the object on the backend, for seconds.
    'busy': (Retrier(('VolumeIsBusy', 'SnapshotIsBusy'), interval=2, rate=2, longest=10, attempts=6),),
}


def expanded(names: Iterable[str], permanent: frozenset[str] = frozenset()) -> list[str]:
    """Return the names with all subclasses of those that are classes of ``chalicelib/errors``, each once.

    Raises ValueError for a name that is neither such a class nor an error of Step Functions or Lambda.
    """
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(one for one in _with_subclasses(name) if one not in permanent)
    return list(found)


def _with_subclasses(name: str) -> list[str]:
    if '.' in name:  # States.ALL, Lambda.ServiceException: not a class of the service
        return [name]
    if name not in _CLASSES:
        raise ValueError(f'{name} is not an error of chalicelib/errors')
    return [other for other, kind in _CLASSES.items() if issubclass(kind, _CLASSES[name])]


def rendered(retry: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the retriers of a state's ``Retry``: policies by name, and retriers of its own.

    An error belongs to the first retrier that names it. Raises KeyError for an unknown policy.
    """
    known: set[str] = set()
    result = []
    for retrier in (one for entry in retry for one in _retriers(entry)):
        names = [name for name in expanded(retrier.errors, PERMANENT) if name not in known]
        known.update(names)
        result.append(retrier.rendered(names))
    return result


def _retriers(entry: str | Mapping[str, Any]) -> tuple[Retrier, ...]:
    if isinstance(entry, str):
        return POLICIES[entry]
    own = Retrier(
        tuple(entry['ErrorEquals']),
        entry['IntervalSeconds'],
        entry['BackoffRate'],
        entry['MaxDelaySeconds'],
        entry['MaxAttempts'],
    )
    return (own,)
