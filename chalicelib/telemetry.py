"""What a function tells of itself: logs and metrics as JSON lines, and a trace where one is sampled.

* A log line carries what the work at hand is about (``about``): request, project, resource, execution. ``make history``
  follows a request by it.
* A metric is a log line in CloudWatch's embedded format: no call, no agent. What would make many metrics of one is a
  property of the line, for Logs Insights, not a dimension.
* A trace goes from API Gateway through the queue and the machine to the driver under one id. X-Ray's SDK is heavy to
  import (170-650 ms), so it is imported only when this very invocation is sampled.

Nothing here may hold a secret: callers log ids, names and the service's own error messages.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import os
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Of CloudWatch metrics; the template's alarms and dashboard name it too.
NAMESPACE = 'Cinderless'

#: Names of a log line that ``about`` may set, in their order.
FIELDS = ('function', 'request_id', 'project_id', 'resource', 'id', 'action', 'execution', 'task')

#: What a message or a machine's input says of the work.
_TOLD = ('request_id', 'project_id', 'resource', 'id', 'action', 'execution')

_about: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar('about', default=types.MappingProxyType({}))

#: X-Ray's header of the work at hand, where it came with a message rather than with the invocation.
_trace: contextvars.ContextVar[str] = contextvars.ContextVar('trace', default='')


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            'timestamp': time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created)) + f'.{record.msecs:03.0f}Z',
            'level': record.levelname,
            'logger': record.name,
            'message': record.getMessage(),
            **_about.get(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line['error'] = record.exc_info[0].__name__
            line['trace'] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start() -> None:
    """Make this function's log lines JSON; where no function runs (tests, tools) logging is left as it is."""
    if not os.environ.get('AWS_LAMBDA_FUNCTION_NAME'):
        return
    root = logging.getLogger()
    root.setLevel(os.environ.get('LOG_LEVEL', 'INFO'))
    for handler in root.handlers or [logging.StreamHandler(sys.stdout)]:
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
    for noisy in ('boto3', 'botocore', 'pynamodb', 'urllib3'):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextlib.contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Give every log line and metric from here on these facts; None is left out."""
    known = {**_about.get(), **{name: str(value) for name, value in fields.items() if value is not None}}
    token = _about.set({name: known[name] for name in FIELDS if name in known})
    try:
        yield
    finally:
        _about.reset(token)


def told(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The facts for ``about`` that a message or a machine's input holds."""
    return {name: payload[name] for name in _TOLD if isinstance(payload.get(name), str)}


def count(name: str, value: float = 1, unit: str = 'Count', **properties: Any) -> None:
    """Emit one value of a metric of this deployment. ``properties`` are for queries, in the line only."""
    if not os.environ.get('AWS_LAMBDA_FUNCTION_NAME'):
        return
    metrics = [{'Namespace': NAMESPACE, 'Dimensions': [['Stack']], 'Metrics': [{'Name': name, 'Unit': unit}]}]
    line = {
        '_aws': {'Timestamp': int(time.time() * 1000), 'CloudWatchMetrics': metrics},
        'Stack': os.environ.get('TABLE_PREFIX', ''),
        **_about.get(),
        **properties,
        name: value,
    }
    print(json.dumps(line), flush=True)


@contextlib.contextmanager
def continuing(header: str | None) -> Iterator[None]:
    """Go on with the trace that came along with a message (its ``AWSTraceHeader``)."""
    token = _trace.set(header or '')
    try:
        yield
    finally:
        _trace.reset(token)


def trace_header() -> str:
    """X-Ray's header to hand on with a message or an execution; '' where nothing is traced."""
    return _trace.get() or os.environ.get('_X_AMZN_TRACE_ID', '')


def is_sampled() -> bool:
    """Whether this invocation's trace is kept. Lambda says so for each invocation."""
    return 'Sampled=1' in os.environ.get('_X_AMZN_TRACE_ID', '')


@contextlib.contextmanager
def segment(name: str, **annotations: str) -> Iterator[None]:
    """A part of the trace, with the AWS calls made in it; nothing at all where the invocation is not sampled."""
    if not is_sampled():
        yield
        return
    from aws_xray_sdk.core import patch, xray_recorder

    patch(('botocore',))  # once: the SDK remembers what it patched
    with xray_recorder.in_subsegment(name) as part:
        for key, value in annotations.items():
            if part is not None:
                part.put_annotation(key, value)
        yield


class Traced:
    """An object whose every method call is a part of the trace, named ``<name>.<method>``."""

    def __init__(self, wrapped: Any, name: str) -> None:
        self._wrapped, self._name = wrapped, name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._wrapped, attribute)
        return self._within(attribute, found) if callable(found) else found

    def _within(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            with segment(f'{self._name}.{method}'):
                return call(*arguments, **options)

        return called
