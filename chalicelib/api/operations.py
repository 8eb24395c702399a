"""Operations: what each accepted request became, step by step. An extension of Cinder's API."""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api.filters import EXTENSIONS, Filter, Filters, period, plain
from chalicelib.api.pagination import page, query
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.view import View, attribute, field, links
from chalicelib.models import Operation
from chalicelib.operations import history
from chalicelib.rules.microversions import Version

operations = Resource('operations', not_found=errors.OperationNotFound, find=history.get, shown_by='operation:get')


def _since(name: str, text: str, version: Version) -> str:
    """A time in the form of the records. Raises Invalid."""
    return period(name, f'gte:{text}', version).removeprefix('gte:')


FILTERS = Filters(
    'operation',
    Operation,
    early=frozenset(EXTENSIONS['operation']),
    known={**dict.fromkeys(EXTENSIONS['operation'], Filter(plain)), 'since': Filter(_since)},
)


def _end(operation: Operation, name: str) -> Any:
    return (operation.outcome() or {}).get(name)


LISTED = View(
    attribute('id'),
    attribute('action'),
    attribute('resource_type'),
    attribute('resource_id'),
    attribute('resource_name'),
    attribute('project_id'),
    attribute('user_id'),
    field('status', lambda operation, request: history.status(operation)),
    attribute('started_at', 'created_at'),
    field('ended_at', lambda operation, request: _end(operation, 'at')),
    field('resource_status', lambda operation, request: _end(operation, 'status')),
    field('error', lambda operation, request: _end(operation, 'error')),
    field('host', lambda operation, request: _end(operation, 'host'), admin_only=True),
    links('operations'),
)

WHOLE = LISTED.and_(
    field('progress', lambda operation, request: history.bytes_done(operation)),
    field('cause', lambda operation, request: _end(operation, 'cause'), admin_only=True),
    field('tried', lambda operation, request: _end(operation, 'tried') or [], admin_only=True),
    field('why', lambda operation, request: _end(operation, 'why'), admin_only=True),
    field('trace', lambda operation, request: operation.trace, admin_only=True),
)


def _step(step: history.Step, is_admin: bool) -> dict[str, Any]:
    failures = [
        {
            'at': one.at,
            'error': history.sentence(one),
            **({'cause': f'{one.error}: {one.cause}'[:2000]} if is_admin else {}),
        }
        for one in step.failures
    ]
    return {
        'name': step.name,
        'workflow': step.machine,
        'started_at': step.started_at,
        'ended_at': step.ended_at,
        'failures': failures,
    }


@operations.get('', policy='operation:get_all')
def index(request: Request) -> Response:
    """List operations, newest first."""
    records, _ = history.list_(request.context, query(request, FILTERS))
    return page(request, 'operations', LISTED, records, links='operations_links', path='operations')


@operations.get('/{id}', policy='operation:get')
def show(request: Request, id: str) -> dict[str, Any]:
    """Show an operation with its steps."""
    operation = history.get(request.context, id)
    found, effort = history.story(operation)
    steps = [_step(one, request.context.is_admin) for one in found]
    inside = {'effort': effort._asdict()} if request.context.is_admin else {}
    running = [one['name'] for one in steps if one['ended_at'] is None]
    step = running[-1] if running else None
    return {'operation': {**WHOLE.of(request)(operation), 'step': step, 'steps': steps, **inside}}
