"""The history of one request: ``make history REQUEST=req-...`` or ``python -m infra.history req-...``.

Reads the functions' log lines about it (CloudWatch Logs, or the local cloud's file), finds the executions that it
started, and merges their events by time, oldest first.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

FUNCTIONS = ('api', 'start_workflow', 'volume_worker', 'backup_worker', 'reconcile', 'report_pools', 'backup_schedules')

_EXECUTION = re.compile(r'arn:[\w-]+:states:[\w-]+:\d+:execution:[\w.-]+:[\w.-]+')

#: Events of an execution without new information.
SILENT = ('Scheduled', 'Started', 'Succeeded')

#: The file with the local cloud's addresses, by default.
LOCAL = Path('.local/ready.json')


class Event(NamedTuple):
    """One line of the history. ``time`` is UTC, in the form of the logs."""

    time: str
    who: str
    what: str


def story(lines: Iterable[dict[str, Any]], states: Any) -> list[Event]:
    """Return the events of a request from its log lines; ``states`` is a Step Functions client."""
    known = [line for line in lines if 'message' in line]  # metrics are lines of the same logs
    arns = {arn for line in known for arn in _EXECUTION.findall(str(line['message']))}
    events = [_logged(line) for line in known]
    return sorted([*events, *(event for arn in sorted(arns) for event in executed(arn, states))])


def _logged(line: dict[str, Any]) -> Event:
    level = '' if line.get('level') == 'INFO' else f'{line.get("level")} '
    error = f' ({line["error"]})' if 'error' in line else ''
    return Event(str(line['timestamp']), str(line.get('function', '?')), f'{level}{line["message"]}{error}')


def executed(arn: str, states: Any) -> Iterator[Event]:
    """Return the states that an execution entered, and its end."""
    machine = arn.split(':')[-2].partition('-')[2]
    pages = states.get_paginator('get_execution_history').paginate(executionArn=arn)
    for event in (event for page in pages for event in page['events']):
        kind = str(event['type'])
        entered = event.get('stateEnteredEventDetails')
        if entered:
            yield Event(_utc(event['timestamp']), machine, f'enters {entered["name"]}')
        elif kind.startswith('Execution') or not kind.endswith((*SILENT, 'Exited')):
            yield Event(_utc(event['timestamp']), machine, ' '.join([kind, *_causes(event)]))


def _causes(event: dict[str, Any]) -> Iterator[str]:
    for details in event.values():
        if isinstance(details, dict):
            yield from (f'{key}={details[key]}' for key in ('error', 'cause') if details.get(key))


def _utc(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')[:-3] + 'Z'


def from_cloudwatch(request: str, stack: str, days: float, logs: Any) -> Iterator[dict[str, Any]]:
    """Return log lines of all functions about a request, of the last ``days``."""
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    pages = logs.get_paginator('filter_log_events')
    for function in FUNCTIONS:
        for page in pages.paginate(
            logGroupName=f'/aws/lambda/{stack}-{function}',
            filterPattern=f'{{ $.request_id = "{request}" }}',
            startTime=int(since.timestamp() * 1000),
        ):
            yield from (json.loads(event['message']) for event in page['events'])


def from_file(request: str, path: Path) -> Iterator[dict[str, Any]]:
    """Return log lines about a request from the local cloud's file."""
    with path.open(encoding='utf-8') as file:
        yield from (line for line in map(json.loads, file) if line.get('request_id') == request)


def main(words: list[str] | None = None) -> int:
    """Print the history; the exit code is 1 for an unknown request."""
    options = _options(words)
    import boto3

    if options.local.exists():
        ready = json.loads(options.local.read_text())
        keys = {'aws_access_key_id': ready['access_key'], 'aws_secret_access_key': ready['secret_key']}
        states = boto3.client('stepfunctions', region_name=ready['region'], endpoint_url=ready['aws'], **keys)
        lines = from_file(options.request, options.local.parent / 'logs' / 'functions.jsonl')
    else:
        session = boto3.Session(profile_name=options.profile, region_name=options.region)
        states = session.client('stepfunctions')
        lines = from_cloudwatch(options.request, options.stack, options.days, session.client('logs'))
    events = story(lines, states)
    for event in events:
        print(f'{event.time}  {event.who:15} {event.what}')
    if not events:
        print(f'nothing is known of {options.request}', file=sys.stderr)
    return 0 if events else 1


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m infra.history', description='What became of one request.')
    parser.add_argument('request', help='the x-openstack-request-id of the answer: req-...')
    parser.add_argument('--stack', default='cinderless', help='the stack on AWS (default: cinderless)')
    parser.add_argument('--profile', help='a profile of the AWS CLI')
    parser.add_argument('--region', help="the stack's region (default: the profile's)")
    parser.add_argument('--days', type=float, default=7, help='how far back to look in CloudWatch (default: 7)')
    parser.add_argument('--local', type=Path, default=LOCAL, help='ready.json of a local cloud; taken when it exists')
    return parser.parse_args(words)


if __name__ == '__main__':
    sys.exit(main())
