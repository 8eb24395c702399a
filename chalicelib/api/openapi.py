"""The API as an OpenAPI 3.1 document, generated from the routes: parameters, versions and policies.

Bodies are the schemas that requests are validated with. Parts that depend on the microversion have ``x-since`` and
``x-until``; an action is one of its path's bodies. The document is built at its first request.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from chalicelib.api.pagination import PAGING
from chalicelib.api.parameters import only
from chalicelib.api.resource import Route
from chalicelib.api.resources import PREFIXES, routes
from chalicelib.api.schema import SINCE
from chalicelib.rules import microversions

Document = dict[str, Any]

#: The parameters of every list besides its filters.
LIST = (*PAGING, 'all_tenants', 'with_count')

_VOLUME = ('name', 'status', 'bootable', 'migration_status', 'availability_zone', 'metadata', 'size', 'host')
_SNAPSHOT = ('name', 'status', 'volume_id', 'metadata', 'availability_zone')
_TRANSFER = ('name', 'volume_id')
_GROUP = ('name', 'status', 'group_type')
_CLUSTER = ('name', 'binary', 'is_up', 'disabled', 'num_hosts', 'num_down_hosts', 'replication_status', 'frozen')

#: Method and path -> parameters of the query, besides those of every list.
QUERIES: Mapping[tuple[str, str], tuple[str, ...]] = {
    **{('GET', f'/volumes{tail}'): (*LIST, *_VOLUME, 'glance_metadata', 'group_id', 'created_at', 'updated_at')
       for tail in ('', '/detail')},
    ('GET', '/volumes/summary'): ('all_tenants',),
    ('POST', '/volumes'): ('dry_run',),
    ('GET', '/volumes/{id}'): ('progress',),
    ('GET', '/backups/{id}'): ('progress', 'method'),
    ('DELETE', '/volumes/{id}'): ('cascade', 'force'),
    **{('GET', f'/snapshots{tail}'): (*LIST, *_SNAPSHOT) for tail in ('', '/detail')},
    **{('GET', f'/backups{tail}'): (*LIST, 'name', 'status', 'volume_id') for tail in ('', '/detail')},
    **{('GET', f'/attachments{tail}'): (*LIST, 'volume_id', 'status', 'instance_id', 'attach_status')
       for tail in ('', '/detail')},
    **{('GET', f'/volume-transfers{tail}'): (*LIST, *_TRANSFER) for tail in ('', '/detail')},
    **{('GET', f'/os-volume-transfer{tail}'): (*LIST, *_TRANSFER) for tail in ('', '/detail')},
    **{('GET', f'/groups{tail}'): (*LIST, *_GROUP, 'list_volume') for tail in ('', '/detail')},
    ('GET', '/groups/{id}'): ('list_volume',),
    **{('GET', f'/group_snapshots{tail}'): (*LIST, *_GROUP) for tail in ('', '/detail')},
    ('GET', '/messages'): (*LIST, 'resource_uuid', 'resource_type', 'event_id', 'request_id', 'message_level'),
    ('GET', '/types'): (*LIST, 'is_public', 'name', 'extra_specs'),
    ('GET', '/group_types'): (*LIST, 'is_public'),
    ('GET', '/qos-specs'): (*LIST, 'id', 'name', 'consumer'),
    ('DELETE', '/qos-specs/{id}'): ('force',),
    ('GET', '/qos-specs/{id}/associate'): ('vol_type_id',),
    ('GET', '/qos-specs/{id}/disassociate'): ('vol_type_id',),
    **{('GET', f'/clusters{tail}'): (*_CLUSTER, 'active_backend_id') for tail in ('', '/detail')},
    ('GET', '/clusters/{id}'): ('binary',),
    ('GET', '/os-services'): ('host', 'binary'),
    ('GET', '/os-hosts'): ('zone',),
    ('GET', '/scheduler-stats/get_pools'): ('detail', 'name', 'volume_type'),
    ('GET', '/limits'): ('project_id', 'tenant_id'),
    ('GET', '/os-quota-sets/{id}'): ('usage',),
    ('GET', '/resource_filters'): ('resource',),
    **{('GET', f'/{name}{tail}'): (*LIST, 'host', 'cluster')
       for name in ('manageable_volumes', 'os-volume-manage', 'manageable_snapshots', 'os-snapshot-manage')
       for tail in ('', '/detail')},
}  # fmt: skip

FAULT: Document = {
    'type': 'object',
    'description': 'One member, named after the kind of fault.',
    'additionalProperties': {
        'type': 'object',
        'properties': {
            'code': {'type': 'integer'},
            'message': {'type': 'string'},
            'title': {'type': 'string'},
            'retryAfter': {'type': 'string'},
        },
        'required': ['code', 'message'],
    },
}

VERSION_HEADER: Document = {
    'name': 'OpenStack-API-Version',
    'in': 'header',
    'required': False,
    'description': 'The microversion; 3.0 without it.',
    'schema': {'type': 'string', 'pattern': r'^volume 3\.[0-9]{1,2}$', 'default': 'volume 3.0'},
}

KEY_HEADER: Document = {
    'name': 'Idempotency-Key',
    'in': 'header',
    'required': False,
    'description': 'A repeated request with the same key and user gets the first response again, for 24 hours.',
    'schema': {'type': 'string', 'minLength': 1, 'maxLength': 255, 'pattern': '^[ -~]+$'},
}


@functools.cache
def document() -> Document:
    """Return the document without ``servers``, which the caller adds."""
    paths: dict[str, Document] = {}
    for route in routes():
        found = paths.setdefault(route.path, {})
        method = route.method.lower()
        found[method] = _merged(found[method], route) if method in found else _operation(route)
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'Block Storage API',
            'version': microversions.text(microversions.MAXIMUM),
            'description': f"Cinder's v3 API. Every path is served below {' and '.join(PREFIXES)}.",
        },
        'paths': paths,
        'components': {
            'schemas': {'Fault': FAULT},
            'securitySchemes': {'token': {'type': 'apiKey', 'in': 'header', 'name': 'X-Auth-Token'}},
        },
        'security': [{'token': []}],
    }


def _operation(route: Route) -> Document:
    operation: Document = {
        'operationId': f'{route.method.lower()}{_identifier(route.path)}',
        'summary': _summary(route),
        'tags': [route.path.split('/')[1]],
        'parameters': [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        'responses': {
            str(route.status): {'description': 'Success.'},
            'default': {'description': 'A fault.', 'content': _json({'$ref': '#/components/schemas/Fault'})},
        },
        'x-rules': [_rule(route)],
    }
    if route.schema is not None or route.action is not None:
        operation['requestBody'] = {'required': True, 'content': _json({'anyOf': [_body(route)]})}
    return operation


def _merged(operation: Document, route: Route) -> Document:
    """Add one more route of the same method and path to an operation: another action, or other versions."""
    operation['responses'].setdefault(str(route.status), {'description': 'Success.'})
    operation['x-rules'].append(_rule(route))
    if route.schema is not None or route.action is not None:
        empty: Document = {'required': True, 'content': _json({'anyOf': []})}
        known = operation.setdefault('requestBody', empty)['content']['application/json']['schema']['anyOf']
        known.append(_body(route))
    return operation


def _rule(route: Route) -> Document:
    """Return policy, action, versions and success status of a route."""
    facts = {'policy': route.policy, 'status': route.status, SINCE: microversions.text(route.since)}
    if route.until != microversions.MAXIMUM:
        facts['x-until'] = microversions.text(route.until)
    return facts | ({'action': route.action} if route.action else {})


def _identifier(path: str) -> str:
    return '_'.join(re.findall(r'[A-Za-z0-9]+', path)).join(('_', ''))


def _summary(route: Route) -> str:
    text = (route.handler.__doc__ or '').strip().partition('\n')[0]
    return text or f'{route.handler.__name__.strip("_").replace("_", " ")} {route.path.split("/")[1]}'


def _path_parameters(route: Route) -> list[Document]:
    names = re.findall(r'{(\w+)}', route.path)
    return [{'name': name, 'in': 'path', 'required': True, 'schema': {'type': 'string'}} for name in names]


def _query_parameters(route: Route) -> list[Document]:
    names = QUERIES.get((route.method, route.path), ())
    return [{'name': name, 'in': 'query', 'required': False, 'schema': {'type': 'string'}} for name in names]


def _headers(route: Route) -> list[Document]:
    return [VERSION_HEADER, KEY_HEADER] if route.method == 'POST' else [VERSION_HEADER]


def _body(route: Route) -> Document:
    """Return the schema of the body; for an action without one, the action's name with any value."""
    schema = route.schema.schema if route.schema is not None else only(str(route.action), {})
    return {**_plain(schema), SINCE: microversions.text(route.since)}


def _plain(schema: Any) -> Any:
    """Return a schema as JSON: versions as text."""
    if isinstance(schema, Mapping):
        return {key: microversions.text(part) if key == SINCE else _plain(part) for key, part in schema.items()}
    if isinstance(schema, list | tuple):
        return [_plain(part) for part in schema]
    return schema


def _json(schema: Document) -> Document:
    return {'application/json': {'schema': schema}}
