"""Lambda functions in this process: environment, context, limits and errors as Lambda has them.

Handlers share one interpreter: their environments are laid over each other (a name with two values is refused at boot),
and a handler that outlives its timeout is answered for, but runs on in its thread.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import importlib
import json
import logging
import os
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Lambda's limits for a synchronous invoke, in bytes.
MAX_REQUEST, MAX_RESPONSE = 6 * 1024 * 1024, 6_291_556

#: Lambda's limit for an asynchronous one.
MAX_ASYNC_REQUEST = 1024 * 1024

#: Variables of all functions. As on Lambda, the API imports what a request needs. The data of a deleted backup stays
#: for 20 minutes instead of two days: a worker here runs for 15 at most, and the disk may be full.
ENVIRONMENT = {'ROUTES_ON_DEMAND': '1', 'BACKUP_GRACE': os.environ.get('BACKUP_GRACE', '1200')}

log = logging.getLogger('local.functions')


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    """One function of the template. ``timeout`` in seconds, ``memory`` in MB."""

    name: str
    arn: str
    handler: str
    timeout: int
    memory: int
    environment: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of an invoke: the handler's result, or ``error`` (Lambda's X-Amz-Function-Error) with a description."""

    result: Any
    error: str | None = None
    timed_out: bool = False

    def payload(self) -> bytes:
        return json.dumps(self.result, separators=(',', ':')).encode()


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """The context object of a handler."""

    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: str
    deadline: float
    aws_request_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    function_version: str = '$LATEST'

    @property
    def log_group_name(self) -> str:
        return f'/aws/lambda/{self.function_name}'

    @property
    def log_stream_name(self) -> str:
        return f'{datetime.datetime.now(datetime.UTC):%Y/%m/%d}/[$LATEST]local'

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def set_environment(functions: Iterable[Function]) -> None:
    """Set the functions' environment in this process. Raises ValueError when two functions differ in a variable."""
    union = dict(ENVIRONMENT)
    for function in functions:
        for name, value in function.environment.items():
            if union.setdefault(name, str(value)) != str(value):
                raise ValueError(f'{function.name}: {name} differs from another function, and all share one process')
    os.environ.update(union)


@functools.cache
def load(handler: str) -> Callable[[Any, Any], Any]:
    """Import ``module.attribute``. A Chalice app is made safe for threads in the way of ``chalice local``."""
    from chalice.app import Chalice
    from chalice.local import LocalChalice

    module, _, attribute = handler.rpartition('.')
    found: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), attribute)
    if isinstance(found, Chalice) and not isinstance(found, LocalChalice):
        found.__class__ = type('LocalApp', (LocalChalice, type(found)), {})  # current_request per thread
    return found


def run(function: Function, event: Any) -> Outcome:
    """Invoke a function and wait for it, at most its timeout."""
    context = Context(function.name, function.arn, str(function.memory), time.monotonic() + function.timeout)
    outcomes: list[Outcome] = []
    worker = threading.Thread(
        target=lambda: outcomes.append(_outcome(function, event, context)), name=function.name, daemon=True
    )
    worker.start()
    worker.join(function.timeout)
    return outcomes[0] if outcomes else _timed_out(function, context)


def _outcome(function: Function, event: Any, context: Context) -> Outcome:
    try:
        result = load(function.handler)(event, context)
    except BaseException as error:
        _report_error(function, error)
        return Outcome(_description(error, context), 'Unhandled')
    return _checked(result, context)


def _checked(result: Any, context: Context) -> Outcome:
    try:
        size = len(json.dumps(result, separators=(',', ':')))
    except (TypeError, ValueError) as error:
        message = f'Unable to marshal response: {error}'
        return Outcome(_failure(message, 'Runtime.MarshalError', context), 'Unhandled')
    if size > MAX_RESPONSE:
        message = f'Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).'
        return Outcome(_failure(message, 'Function.ResponseSizeTooLarge', context), 'Unhandled')
    return Outcome(result)


def _failure(message: str, kind: str, context: Context) -> dict[str, Any]:
    return {'errorMessage': message, 'errorType': kind, 'requestId': context.aws_request_id}


def _description(error: BaseException, context: Context) -> dict[str, Any]:
    """Return Lambda's JSON of an exception; a state machine catches by its ``errorType``."""
    trace = traceback.format_list(traceback.extract_tb(error.__traceback__))
    return {**_failure(str(error), type(error).__name__, context), 'stackTrace': trace}


def _timed_out(function: Function, context: Context) -> Outcome:
    message = f'RequestId: {context.aws_request_id} Error: Task timed out after {function.timeout:.2f} seconds'
    log.warning('%s: timed out after %s s', function.name, function.timeout)
    return Outcome({'errorType': 'Sandbox.Timedout', 'errorMessage': message}, 'Unhandled', timed_out=True)


def _report_error(function: Function, error: BaseException) -> None:
    """A developer reads of an error that is none of the service's own with its trace, of the others in one line."""
    is_own = type(error).__module__.startswith('chalicelib.')
    log.warning('%s: %s: %s', function.name, type(error).__name__, error, exc_info=None if is_own else error)


def run_detached(function: Function, event: Any) -> None:
    """Invoke a function and return at once (invocation type Event)."""
    threading.Thread(target=run, args=(function, event), name=f'{function.name}-event', daemon=True).start()
