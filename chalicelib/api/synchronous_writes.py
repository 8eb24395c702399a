"""Writes that are complete with their response: each is an operation, too (docs/decisions/0072-quick-writes.md).

Work of a workflow is logged by the transactions that begin and end it. A write that began none is logged here, by one
more write after it. That write decides nothing: where it fails, the request has succeeded all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.context import has_begun_work

if TYPE_CHECKING:
    from chalicelib.api.resource import Route

logger = logging.getLogger(__name__)

#: Requests that change nothing, although their method is not GET: (path, action).
READS = frozenset(
    {
        ('/volumes/{id}/action', 'os-show_image_metadata'),
        ('/groups/{id}/action', 'list_replication_targets'),
        ('/os-services/get-log', None),
    }
)

#: First part of a path -> the type of its resource, where it is not the singular.
TYPES = {
    'types': 'volume_type',
    'volume-transfers': 'transfer',
    'os-volume-transfer': 'transfer',
    'os-services': 'service',
    'os-hosts': 'host',
    'qos-specs': 'qos_specs',
    'os-quota-sets': 'quota_set',
    'os-quota-class-sets': 'quota_class_set',
    'os-volume-manage': 'volume',
    'manageable_volumes': 'volume',
    'os-snapshot-manage': 'snapshot',
    'manageable_snapshots': 'snapshot',
}

#: The longest id and name that an operation has.
LONGEST = 255


def carry_out(route: Route, request: Request, ids: Mapping[str, str]) -> Any:
    """Return the result of the route's handler, logged if it changed something without a workflow."""
    from chalicelib.models import base
    from chalicelib.operations import history

    has_begun_work.set(False)
    started_at = base.now()
    result = route.handler(request, **ids)
    if has_begun_work.get() or not _changes(route, request):
        return result
    shown = _resource(result)
    write = history.Write(
        action=route.handler.__name__.removeprefix('old_').strip('_'),
        resource_type=_type(route),
        resource_id=str(ids.get('id') or shown.get('id') or '')[:LONGEST],
        resource_name=str(shown.get('name') or '')[:LONGEST] or None,
        started_at=started_at,
    )
    try:
        history.record(request.context, write)
    except (errors.ServiceUnavailable, errors.AwsRefused) as error:
        logger.warning('the operation of %s is not in the log: %s', request.context.request_id, error)
    return result


def _changes(route: Route, request: Request) -> bool:
    return (route.path, route.action) not in READS and 'dry_run' not in request.query


def _type(route: Route) -> str:
    """The type of the resource; of a part of it (metadata, extra specs), the resource and the part."""
    collection, *rest = route.path.strip('/').split('/')
    name = TYPES.get(collection, collection.replace('-', '_').removesuffix('s'))
    parts = [part for part in rest if part[0] != '{' and part not in ('action', route.handler.__name__)]
    is_part = bool(parts) and rest[0] == '{id}'
    return f'{name}_{parts[0]}' if is_part else name


def _resource(result: Any) -> Mapping[str, Any]:
    """The resource of a response's body: the first member with an id."""
    members = result.values() if isinstance(result, dict) else ()
    return next((one for one in members if isinstance(one, dict) and 'id' in one), {})
