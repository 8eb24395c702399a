"""The history of a request, volume, backup or execution: what the functions logged about it, merged with executions.

Reads the functions' log lines about an id (CloudWatch Logs, or the local cloud's files), finds the executions that they
name, and merges their events by time, oldest first. ``cinderless history`` shows it.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FUNCTIONS = ('api', 'start_workflow', 'volume_worker', 'backup_worker', 'reconcile', 'report_pools', 'backup_schedules')

_EXECUTION = re.compile(r'arn:[\w-]+:states:[\w-]+:\d+:execution:[\w.-]+:[\w.-]+')

#: What an id may be made of: it becomes part of CloudWatch's filter.
_ID = re.compile(r'[\w.:-]{8,}')

#: Fields of a line that hold an id, beside its message.
FIELDS = ('request_id', 'id', 'execution')

#: Events of an execution without new information.
SILENT = ('Scheduled', 'Started', 'Succeeded')


class Event(NamedTuple):
    """One line of the history. ``time`` is UTC, in the form of the logs."""

    time: str
    who: str
    what: str


def is_id(text: str) -> bool:
    """Whether a text may be an id of a request, a resource or an execution."""
    return _ID.fullmatch(text) is not None


def story(lines: Iterable[dict[str, Any]], states: Any, arns: Iterable[str] = ()) -> list[Event]:
    """Return the events of log lines and of the executions that they, or ``arns``, name.

    ``states`` is a Step Functions client; None shows the log lines alone.
    """
    known = [line for line in lines if 'message' in line]  # metrics are lines of the same logs
    named = {arn for line in known for arn in _EXECUTION.findall(str(line['message']))} | set(arns)
    events = [_logged(line) for line in known]
    if states is not None:
        events += [event for arn in sorted(named) for event in executed(arn, states)]
    return sorted(events)


def _logged(line: dict[str, Any]) -> Event:
    level = '' if line.get('level') == 'INFO' else f'{line.get("level")} '
    error = f' ({line["error"]})' if 'error' in line else ''
    return Event(str(line['timestamp']), str(line.get('function', '?')), f'{level}{line["message"]}{error}')


def executed(arn: str, states: Any) -> Iterator[Event]:
    """Return the states that an execution entered, and its end."""
    machine = arn.split(':')[-2].partition('-')[2]
    for event in _events(arn, states):
        kind = str(event['type'])
        entered = event.get('stateEnteredEventDetails')
        if entered:
            yield Event(_utc(event['timestamp']), machine, f'enters {entered["name"]}')
        elif kind.startswith('Execution') or not kind.endswith((*SILENT, 'Exited')):
            yield Event(_utc(event['timestamp']), machine, ' '.join([kind, *_causes(event)]))


def _events(arn: str, states: Any) -> list[dict[str, Any]]:
    """Return an execution's events; none of one that is no longer known (90 days on AWS, a restart locally)."""
    try:
        pages = states.get_paginator('get_execution_history').paginate(executionArn=arn)
        return [event for page in pages for event in page['events']]
    except states.exceptions.ExecutionDoesNotExist:
        return []


def _causes(event: dict[str, Any]) -> Iterator[str]:
    for details in event.values():
        if isinstance(details, dict):
            yield from (f'{key}={details[key]}' for key in ('error', 'cause') if details.get(key))


def _utc(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'


def concerns(line: dict[str, Any], id: str) -> bool:
    """Whether a log line is about an id: it is in one of its fields, or in its message."""
    return id in [line.get(field) for field in FIELDS] or id in str(line.get('message', ''))


def from_cloudwatch(id: str, stack: str, days: float, logs: Any) -> Iterator[dict[str, Any]]:
    """Return log lines of all functions about an id, of the last ``days``."""
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    pages = logs.get_paginator('filter_log_events')
    conditions = [*(f'$.{field} = "{id}"' for field in FIELDS), f'$.message = "*{id}*"']
    for function in FUNCTIONS:
        for page in pages.paginate(
            logGroupName=f'/aws/lambda/{stack}-{function}',
            filterPattern=f'{{ {" || ".join(conditions)} }}',
            startTime=int(since.timestamp() * 1000),
        ):
            yield from (json.loads(event['message']) for event in page['events'])


def log_files(folder: Path) -> list[Path]:
    """Return the local cloud's log files of the functions, oldest first."""
    return sorted(folder.glob('functions.jsonl*'), key=lambda path: path.stat().st_mtime)


def from_files(id: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Return log lines about an id from the local cloud's folder of logs."""
    for path in log_files(folder):
        with path.open(encoding='utf-8', errors='replace') as file:
            yield from (line for line in map(parsed, file) if concerns(line, id))


def parsed(text: str) -> dict[str, Any]:
    """Return a log line; {} for one that was cut off when its process was killed."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
