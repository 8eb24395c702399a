"""Logs and metrics as JSON lines, and traces for sampled requests.

* Log lines carry the facts of the current work (``bind_context``): request, project, resource, execution. ``make
history``
  follows a request by them.
* A metric is a log line in CloudWatch's embedded format: no call, no agent. Values with many variants are properties of
  the line, for Logs Insights, instead of dimensions, which would multiply the metric.
* A trace follows the work from API Gateway through queue and state machine to the driver. X-Ray's SDK is slow to import
  (170-650 ms), so it is imported only when this invocation is sampled.

Nothing here may contain a secret: callers log ids, names and the service's own error messages.
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
from contextlib import AbstractContextManager
from typing import Any

from chalicelib.context_values import bound

#: Namespace of the CloudWatch metrics; the template's alarms and dashboard use it, too.
NAMESPACE = 'Cinderless'

#: The alarm Attention watches the metric of this name: one alarm for findings that an operator must look at, because
#: each alarm costs a tenth of a dollar a month. Points of each finding, and the alarm's threshold within an hour.
ATTENTION, ALARM_AT = 'Attention', 10
POINTS = {'damage': 10, 'stopped': 10, 'stuck': 10, 'not started': 2, 'execution failed': 1}

#: Fields that ``bind_context`` may set, in their order.
FIELDS = ('function', 'request_id', 'project_id', 'resource', 'id', 'action', 'execution', 'task')

#: Fields of the context in a message or a state machine's input.
_EVENT_FIELDS = ('request_id', 'project_id', 'resource', 'id', 'action', 'execution')

_context: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar(
    'context', default=types.MappingProxyType({})
)

#: X-Ray's header of the current work, when it came in a message instead of the invocation.
_trace: contextvars.ContextVar[str] = contextvars.ContextVar('trace', default='')


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            'timestamp': time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created)) + f'.{record.msecs:03.0f}Z',
            'level': record.levelname,
            'logger': record.name,
            'message': record.getMessage(),
            **_context.get(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line['error'] = record.exc_info[0].__name__
            line['trace'] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


#: Loggers that stay at WARNING whatever is requested: at lower levels they log keys and passwords of AWS calls.
LIBRARIES = ('boto3', 'botocore', 'pynamodb', 's3transfer', 'urllib3')


def start() -> None:
    """Format this function's log lines as JSON; outside Lambda (tests, tools) logging is unchanged."""
    if not os.environ.get('AWS_LAMBDA_FUNCTION_NAME'):
        return
    root = logging.getLogger()
    root.setLevel(os.environ.get('LOG_LEVEL', 'INFO'))
    for handler in root.handlers or [logging.StreamHandler(sys.stdout)]:
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def bind_context(**fields: Any) -> AbstractContextManager[None]:
    """Add these fields to every log line and metric within the block; None is left out."""
    merged = {**_context.get(), **{name: str(value) for name, value in fields.items() if value is not None}}
    return bound(_context, {name: merged[name] for name in FIELDS if name in merged})


def context_from_event(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields for ``bind_context`` in a message or a state machine's input."""
    return {name: payload[name] for name in _EVENT_FIELDS if isinstance(payload.get(name), str)}


def count(name: str, value: float = 1, unit: str = 'Count', **properties: Any) -> None:
    """Emit one value of a metric of this deployment. ``properties`` appear only in the line, for queries."""
    if not os.environ.get('AWS_LAMBDA_FUNCTION_NAME'):
        return
    metrics = [{'Namespace': NAMESPACE, 'Dimensions': [['Stack']], 'Metrics': [{'Name': name, 'Unit': unit}]}]
    line = {
        '_aws': {'Timestamp': int(time.time() * 1000), 'CloudWatchMetrics': metrics},
        'Stack': os.environ.get('TABLE_PREFIX', ''),
        **_context.get(),
        **properties,
        name: value,
    }
    print(json.dumps(line), flush=True)


def needs_attention(why: str) -> None:
    """Count a finding for the alarm Attention. ``why`` is a key of POINTS and a property of the line."""
    count(ATTENTION, POINTS[why], why=why)


def resume_trace(header: str | None) -> AbstractContextManager[None]:
    """Continue the trace of a message (its ``AWSTraceHeader``)."""
    return bound(_trace, header or '')


def trace_header() -> str:
    """Return X-Ray's header for a message or an execution; '' without a trace."""
    return _trace.get() or os.environ.get('_X_AMZN_TRACE_ID', '')


def is_sampled() -> bool:
    """Whether this invocation's trace is recorded. Lambda decides for each invocation."""
    return 'Sampled=1' in os.environ.get('_X_AMZN_TRACE_ID', '')


@contextlib.contextmanager
def segment(name: str, **annotations: str) -> Iterator[None]:
    """Record a part of the trace, with the AWS calls in it; does nothing where the invocation is not sampled."""
    if not is_sampled():
        yield
        return
    from aws_xray_sdk.core import patch, xray_recorder

    patch(('botocore',))  # idempotent: the SDK records what it patched
    with xray_recorder.in_subsegment(name) as part:
        for key, value in annotations.items():
            if part is not None:
                part.put_annotation(key, value)
        yield


class Traced:
    """A proxy that records every method call as a part of the trace, named ``<name>.<method>``."""

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
