"""EC2 and the EBS direct APIs, one call at a time, with retries of throttled calls, error classes and bounded time.

EC2 throttles about one mutating call in ten of a busy account. A refused call had no effect, so it is retried after a
random, growing pause. A call whose answer was lost may have taken effect. It is retried only if a repeat does no harm
(it names its object, or carries a ClientToken); otherwise ``Unsure`` is raised, and the caller looks for the effect
before it tries again.
"""

from __future__ import annotations

import contextlib
import functools
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from chalicelib import aws, aws_errors, time_left
from chalicelib.errors import BackendUnavailable, OutcomeUnknown, ServiceUnavailable
from chalicelib.jitter import jittered

#: Attempts of one call, and the longest pause between two of them, in seconds. All pauses: 12 s on average.
ATTEMPTS, LONGEST_PAUSE = 8, 8.0

#: Code of a call that was never sent: retried like a throttled one.
UNSENT = 'NotSent'

#: Codes of calls that had no effect, and that a retry may fix.
_REPEATED = aws_errors.THROTTLED | {UNSENT}

#: Seconds for a connection, and for an answer of each service: EC2 answers before long operations are complete.
CONNECT, READ = 2, {'ec2': 6, 'ebs': 20}

#: Seconds after which a verb that a client waits for makes no further call: with the last call it stays below the 27 s
#: of a synchronous worker.
BUDGET = 18.0


class Refused(Exception):
    """AWS refused the call."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message


class Unsure(Exception):
    """No answer, or an error on AWS's side: the call may have taken effect."""


@functools.cache
def _client(service: str, region: str) -> Any:
    """One client per process, without botocore's retries, which repeat calls that must not be repeated."""
    return aws.create_client(
        service,
        region,
        retries={'total_max_attempts': 1},
        connect_timeout=CONNECT,
        read_timeout=READ[service],
        max_pool_connections=64,
    )


class Api:
    """Calls by their names in the API. Thread-safe."""

    def __init__(self, backend: str, region: str) -> None:
        self._backend = backend
        self._region = region
        self._thread = threading.local()

    @contextlib.contextmanager
    def budget(self) -> Iterator[None]:
        """This thread's calls within end in time, if necessary with BackendUnavailable."""
        self._thread.until = self.now() + time_left.at_most(BUDGET)
        try:
            yield
        finally:
            del self._thread.until

    def _left(self) -> float:
        """Seconds left of the current budget."""
        return float(getattr(self._thread, 'until', math.inf)) - self.now()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        """Return seconds of a monotonic clock."""
        return time.monotonic()

    def ec2(self, operation: str, *, repeatable: bool = True, **parameters: Any) -> dict[str, Any]:
        """Raises Refused; without success BackendUnavailable, or Unsure if not ``repeatable``."""
        return self._repeat('ec2', operation, repeatable, parameters)

    def direct(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """A call of the EBS direct APIs, all of which are repeatable."""
        return self._repeat('ebs', operation, True, parameters)

    def pages(self, operation: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """The pages of an EC2 Describe call."""
        token: dict[str, Any] = {}
        while True:
            page = self.ec2(operation, **parameters, **token)
            yield page
            if not page.get('NextToken'):
                return
            token = {'NextToken': page['NextToken']}

    def wait(self, look: Callable[[], bool], seconds: float, longest: float = 15.0) -> bool:
        """Poll with growing pauses until ``look`` is true; False when the time, or nearly the budget, has run out."""
        until, pause = self.now() + min(seconds, self._left() - 1), 0.5
        while not look():
            left = until - self.now()
            if left <= 0:
                return False
            self.sleep(min(jittered(min(pause, longest)), left))
            pause *= 2
        return True

    def unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(backend=self._backend, reason=reason)

    def _repeat(self, service: str, operation: str, repeatable: bool, parameters: dict[str, Any]) -> dict[str, Any]:
        reason = ''
        for attempt in range(ATTEMPTS):
            pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**attempt)) if attempt else 0.0  # noqa: S311 - no secret
            if pause > self._left():
                raise self.unavailable(f'{operation} cannot be done in time: {reason or "earlier calls used the time"}')
            self.sleep(pause)
            try:
                return self._call(service, operation, parameters)
            except Refused as refused:
                if refused.code not in _REPEATED:
                    raise
                reason = str(refused)
            except Unsure as unsure:
                if not repeatable:
                    raise
                reason = str(unsure)
        raise self.unavailable(f'{operation} failed {ATTEMPTS} times, last with {reason}')

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from botocore import xform_name
        from botocore.exceptions import ClientError

        try:
            with aws_errors.translated(f'{service}:{operation}', sent_once=True):
                try:
                    return dict(getattr(_client(service, self._region), xform_name(operation))(**parameters))
                except ClientError as error:
                    raise _error_of(error.response) from error
        except OutcomeUnknown as error:
            raise Unsure(f'{operation} got no answer: {error.facts["code"]}') from error
        except ServiceUnavailable as error:
            raise Refused(UNSENT, str(error.facts['code'])) from error


def _error_of(response: dict[str, Any]) -> Refused | Unsure:
    code, message = str(response['Error'].get('Code', '')), str(response['Error'].get('Message', ''))
    if code not in _REPEATED and response['ResponseMetadata']['HTTPStatusCode'] >= 500:
        return Unsure(f'{code}: {message}')
    return Refused(code, message)
