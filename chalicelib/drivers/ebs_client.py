"""EC2 and the EBS direct APIs, one call at a time: throttling is waited out, errors are told apart, time is bounded.

EC2 refuses about one mutating call in ten of a busy account. A refusal is definite, so the call is repeated after a
random pause that grows. A call whose answer got lost is another matter: it may have been obeyed. It is repeated only
if a repeat does no harm (it names its object, or carries a ClientToken); else the caller is told with ``Unsure``, and
looks at what is there before it tries again.
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

#: Code of a call that never left this process: repeated like a throttled one.
UNSENT = 'NotSent'

#: Codes of a call that was surely not done, and that a repetition may do.
_REPEATED = aws_errors.THROTTLED | {UNSENT}

#: Seconds for a connection, and for an answer of each service: what EC2 does takes longer, it answers before.
CONNECT, READ = 2, {'ec2': 6, 'ebs': 20}

#: Seconds after which a verb that somebody waits for makes no further call: with the last one it is below the 27 s that
#: a synchronous worker has.
BUDGET = 18.0


class Refused(Exception):
    """AWS answered, and it is no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f'{code}: {message}')
        self.code = code
        self.message = message


class Unsure(Exception):
    """No answer, or a failure on AWS's side: what was asked for may have been done."""


@functools.cache
def _client(service: str, region: str) -> Any:
    """One client per process; its own retries are off, since they repeat what must not be repeated."""
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
        """This thread's calls within end in time, if need be with BackendUnavailable."""
        self._thread.until = self.now() + time_left.at_most(BUDGET)
        try:
            yield
        finally:
            del self._thread.until

    def _left(self) -> float:
        """Seconds of the budget in force."""
        return float(getattr(self._thread, 'until', math.inf)) - self.now()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def now(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def ec2(self, operation: str, *, repeatable: bool = True, **parameters: Any) -> dict[str, Any]:
        """Raises Refused; BackendUnavailable when it goes on being throttled or gives no answer; else Unsure."""
        return self._repeat('ec2', operation, repeatable, parameters)

    def direct(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """A call of the EBS direct APIs; each of them may be repeated."""
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
        """Look again and again, ever less often, until it holds; False when the time is over, or nearly the budget."""
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
                raise self.unavailable(f'{operation} cannot be done in time: {reason or "what came before took it"}')
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
        raise self.unavailable(f'{operation} failed {ATTEMPTS} times, at last with {reason}')

    def _call(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        from botocore import xform_name
        from botocore.exceptions import ClientError

        try:
            with aws_errors.translated(f'{service}:{operation}', sent_once=True):
                try:
                    return dict(getattr(_client(service, self._region), xform_name(operation))(**parameters))
                except ClientError as error:
                    raise _told_apart(error.response) from error
        except OutcomeUnknown as error:
            raise Unsure(f'{operation} got no answer: {error.facts["code"]}') from error
        except ServiceUnavailable as error:
            raise Refused(UNSENT, str(error.facts['code'])) from error


def _told_apart(response: dict[str, Any]) -> Refused | Unsure:
    code, message = str(response['Error'].get('Code', '')), str(response['Error'].get('Message', ''))
    if code not in _REPEATED and response['ResponseMetadata']['HTTPStatusCode'] >= 500:
        return Unsure(f'{code}: {message}')
    return Refused(code, message)
