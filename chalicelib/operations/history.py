"""The operations of a project: what was requested, how far it is, and what became of it.

Their records are written with the work (models/operation_log.py). The steps of one operation are read when it is
shown: from the history of its executions, and from the progress of a copy. Users see the error and the states; the
pools that were tried and the texts of drivers are for administrators.
"""

from __future__ import annotations

import datetime
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib import aws, errors, telemetry
from chalicelib.context import Context
from chalicelib.models import Backup, Operation, Volume, base, operation_log
from chalicelib.operations import common, progress
from chalicelib.rules.executions import machine_of, run_name
from chalicelib.rules.sentences import for_users, message_of

#: States of an operation.
RUNNING, SUCCEEDED, FAILED = 'running', 'succeeded', 'failed'

#: Runs of one workflow that are looked for.
MAX_RUNS = 10

#: Failed attempts of one step, and its steps, that are shown: a backend that is away may be tried for days.
MAX_FAILURES, MAX_STEPS = 20, 200


class Failure(NamedTuple):
    """An attempt that failed: a time, the name of the error and its text."""

    at: str
    error: str
    cause: str


class Step(NamedTuple):
    """One state that an execution entered. ``ended_at``: None while it runs."""

    name: str
    machine: str
    started_at: str
    ended_at: str | None
    failures: list[Failure]
    is_task: bool = False


class Effort(NamedTuple):
    """What the executions of an operation took of AWS, as their histories count it."""

    state_transitions: int
    invocations: int
    #: Of tasks; a worker of 1 GB for so long is what ``dollars`` assumes.
    task_seconds: float
    #: Step Functions and Lambda at list price; without the request, the database and objects (docs/reference/cost.md).
    dollars: float


#: Dollars each, as docs/cost.py has them: us-east-1, November 2026, without the free tier.
PRICES = {'transition': 2.5e-5, 'invoke': 0.20e-6, 'gb_second': 1.66667e-5, 'log_gb': 0.50}

#: GB that one task writes to its log, as docs/cost.py has it.
LOGGED = 1300 / 1e9


def get(context: Context, id: str) -> Operation:
    """Return one of the caller's operations, or any of an administrator; raises OperationNotFound.

    An end without a begin, of work that a version without a log accepted, is not an operation.
    """
    found = common.find(context, Operation, id)
    if found.first is None:
        raise errors.OperationNotFound(id=id)
    return found


def list_(context: Context, query: common.ListQuery) -> tuple[list[Operation], bool]:
    """Return one page, newest first, and whether more follow. It reads no further than the page needs.

    Filters: resource_id, resource_type, action, status, since (a timestamp). Raises OperationNotFound for an unknown
    marker.
    """
    marker = None if query.marker is None else get(context, query.marker)
    filters = dict(query.filters)
    since = filters.pop('since', None)
    if query.all_tenants and context.is_admin:
        found = _everywhere(since, marker)
    else:
        found = base.newest_first(Operation, context.project_id, since=since, marker=marker)
    matching = (each for each in found if all(_MATCHERS[name](each, value) for name, value in filters.items()))
    page = list(itertools.islice(matching, query.offset, query.offset + query.limit + 1))
    return page[: query.limit], len(page) > query.limit


def _everywhere(since: str | None, marker: Operation | None) -> Iterator[Operation]:
    """The operations of all projects, newest first. One without a begin, of a version without a log, is left out."""
    projects = base.projects_of(Operation)
    found = [base.newest_first(Operation, project, since=since, marker=marker) for project in projects]
    return heapq.merge(*found, key=lambda each: (each.created_at, each.id), reverse=True)


def status(operation: Operation) -> str:
    """Return running, succeeded or failed."""
    ended = operation.outcome()
    if ended is None:
        return RUNNING
    return FAILED if ended.get('failed') else SUCCEEDED


class Write(NamedTuple):
    """A request that was carried out before its response: attach, transfer, a change of a type."""

    action: str
    resource_type: str
    resource_id: str
    resource_name: str | None
    started_at: str


def record(context: Context, write: Write) -> None:
    """Write the operation of a request that began no workflow, in the caller's project.

    Raises ServiceUnavailable and AwsRefused.
    """
    ended = {'at': base.now(), 'failed': False}
    facts = {
        'created_at': write.started_at,
        'user_id': context.user_id,
        'action': write.action,
        'resource_type': write.resource_type,
        'resource_id': write.resource_id or None,
        'resource_name': write.resource_name,
        'first': {},
        'end': ended,
        'end_of_group': ended if write.resource_type == 'group' else None,
        'trace': telemetry.trace_header()[:255] or None,
        'expires': operation_log.expiry(),
    }
    actions = operation_log.kept({name: value for name, value in facts.items() if value is not None})
    base.write(Operation(context.project_id, context.request_id), actions)


_MATCHERS: Mapping[str, common.Matcher] = {
    'resource_id': lambda operation, value: operation.resource_id == value,
    'resource_type': lambda operation, value: operation.resource_type == value,
    'action': lambda operation, value: operation.action == value,
    'status': lambda operation, value: status(operation) == value,
}


def story(operation: Operation) -> tuple[list[Step], Effort]:
    """Return the states that the operation's executions entered, oldest first, and what they took of AWS."""
    executions = list(_executions(operation))
    steps = [step for name, events in executions for step in _steps(name, events)]
    return steps[:MAX_STEPS], _effort([event for _, events in executions for event in events], steps)


def _effort(events: Iterable[Mapping[str, Any]], steps: Iterable[Step]) -> Effort:
    kinds = [str(event['type']) for event in events]
    tasks = sum(kind in ('LambdaFunctionScheduled', 'TaskScheduled') for kind in kinds)
    # An execution's start is a transition, too; each attempt of a task is one.
    entered = sum(kind.endswith('StateEntered') for kind in kinds)
    retried = max(0, tasks - sum(kind == 'TaskStateEntered' for kind in kinds))
    transitions = entered + retried + kinds.count('ExecutionStarted')
    seconds = sum(_seconds(step) for step in steps if step.is_task and step.ended_at)
    per_task = PRICES['invoke'] + LOGGED * PRICES['log_gb']
    dollars = transitions * PRICES['transition'] + tasks * per_task + seconds * PRICES['gb_second']
    return Effort(transitions, tasks, round(seconds, 3), round(dollars, 9))


def _seconds(step: Step) -> float:
    began, ended = (datetime.datetime.fromisoformat(text) for text in (step.started_at, str(step.ended_at)))
    return (ended - began).total_seconds()


def _executions(operation: Operation) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(state machine, events) of each run; none for those of a local cloud before its restart."""
    works = [operation.first] if operation.first == operation.last else [operation.first, operation.last]
    for work in filter(None, works):
        message = {**work, 'request_id': operation.id}
        machine = machine_of(message).name
        for attempt in range(MAX_RUNS):
            events = aws.execution_events(aws.execution_arn(machine, run_name(message, attempt)))
            if events is None:
                break
            yield machine, events


def _steps(machine: str, events: Iterable[Mapping[str, Any]]) -> list[Step]:
    found: list[Step] = []
    for event in events:
        kind, at = str(event['type']), _text(event['timestamp'])
        if 'stateEnteredEventDetails' in event:
            name = event['stateEnteredEventDetails']['name']
            found.append(Step(name, machine, at, None, [], kind == 'TaskStateEntered'))
        elif 'stateExitedEventDetails' in event:
            _close(found, event['stateExitedEventDetails']['name'], at)
        elif kind.startswith('Execution') and kind != 'ExecutionStarted':
            found = [step._replace(ended_at=step.ended_at or at) for step in found]
        elif kind.endswith(('Failed', 'TimedOut')) and (failure := _failure(event, at)):
            _last_open(found).append(failure)
    return found


def _close(found: list[Step], name: str, at: str) -> None:
    for place in reversed(range(len(found))):
        if found[place].name == name and found[place].ended_at is None:
            found[place] = found[place]._replace(ended_at=at)
            return


def _last_open(found: list[Step]) -> list[Failure]:
    """The failures of the newest step that runs; a list that is full takes no more."""
    for step in reversed(found):
        if step.ended_at is None and len(step.failures) < MAX_FAILURES:
            return step.failures
    return []


def _failure(event: Mapping[str, Any], at: str) -> Failure | None:
    """The failure that an event reports. A worker's cause is JSON with the text of the error."""
    for details in event.values():
        if isinstance(details, dict) and details.get('error'):
            return Failure(at, str(details['error']), message_of(str(details.get('cause', ''))))
    return None


def sentence(failure: Failure) -> str:
    """Return what users read of a failed attempt."""
    return for_users(failure.error, failure.cause)


def _text(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')


def bytes_done(operation: Operation) -> dict[str, int | None] | None:
    """Return the progress of the copy that the operation makes: see progress.shown; None when it makes none."""
    work = operation.last
    if operation.outcome() is not None or not work:
        return None
    found = _copied(work)
    return None if found is None else progress.shown(found)


def _copied(work: Mapping[str, str]) -> Backup | Volume | None:
    """The record with the progress: the volume of a restore, else the record under way."""
    try:
        if work['resource'] == 'volume':
            return Volume.find(work['project_id'], work['id'])
        if work['resource'] != 'backup':
            return None
        backup = Backup.find(work['project_id'], work['id'])
        if work['action'] == 'restore' and backup.restore_volume_id:
            return Volume.find(work['project_id'], backup.restore_volume_id)
    except (errors.VolumeNotFound, errors.BackupNotFound):
        return None
    return backup
