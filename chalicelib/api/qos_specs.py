"""QoS specs. Associations are changed by GET, as in Cinder."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import Filter, Filters, boolean, plain
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.api.standard_routes import add_lists
from chalicelib.api.view import View, attribute
from chalicelib.models import QosSpecs
from chalicelib.operations import qos_specs as operations
from chalicelib.rules.qos import CONSUMERS

qos_specs = Resource('qos-specs', not_found=errors.QoSSpecsNotFound)

POLICY = 'volume_extension:qos_specs_manage'

_SPEC = {'type': ['string', 'null'], 'maxLength': 255}
_CONSUMER = {'type': 'string', 'enum': list(CONSUMERS)}

CREATE = p.only(
    'qos_specs',
    {
        p.BOUND: 'qos_specs',
        'type': 'object',
        'properties': {'name': {**p.NAME_REQUIRED, 'format': 'type_name'}, 'consumer': _CONSUMER},
        'patternProperties': {p.METADATA_KEY: _SPEC},
        'required': ['name'],
        'additionalProperties': True,
    },
)
UPDATE = p.only(
    'qos_specs',
    {
        p.BOUND: 'qos_specs',
        'type': 'object',
        'properties': {'consumer': _CONSUMER},
        'patternProperties': {p.METADATA_KEY: _SPEC},
        'additionalProperties': False,
    },
)
KEYS = p.only('keys', p.bounded('qos_specs.specs', {'type': 'array', 'items': p.NAME_REQUIRED, 'uniqueItems': True}))

FILTERS = Filters(
    'qos_specs',
    QosSpecs,
    early=frozenset(),
    known={name: Filter(plain) for name in ('id', 'name', 'consumer')},
)

VIEW = View(attribute('id'), attribute('name'), attribute('consumer'), attribute('specs'))


def _whole(request: Request, found: QosSpecs) -> dict[str, Any]:
    """Return the specs with their links."""
    return {'qos_specs': VIEW.of(request)(found), 'links': request.links('qos-specs', found.id)}


add_lists(
    qos_specs,
    'qos_specs',
    operations.list_,
    FILTERS,
    brief=VIEW,
    links='qos_specs_links',
    policy=f'{POLICY}:get_all',
)


@qos_specs.get('/{id}', policy=f'{POLICY}:get')
def show(request: Request, id: str) -> dict[str, Any]:
    return _whole(request, operations.get(request.context, id))


@qos_specs.post('', policy=f'{POLICY}:create', schema=CREATE)
def create(request: Request) -> dict[str, Any]:
    """Every member except name and consumer is a spec."""
    body = request.body['qos_specs']
    specs = {key: value for key, value in body.items() if key not in ('name', 'consumer')}
    made = operations.create(
        request.context, name=body['name'].strip(), consumer=body.get('consumer', 'back-end'), specs=specs
    )
    return _whole(request, made)


@qos_specs.put('/{id}', policy=f'{POLICY}:update', schema=UPDATE)
def update(request: Request, id: str) -> dict[str, Any]:
    operations.update(request.context, id, request.body['qos_specs'])
    return dict(request.body)


@qos_specs.put('/{id}/delete_keys', policy=f'{POLICY}:delete', schema=KEYS, status=202)
def delete_keys(request: Request, id: str) -> None:
    operations.delete_keys(request.context, id, request.body['keys'])


@qos_specs.delete('/{id}', policy=f'{POLICY}:delete', status=202)
def delete(request: Request, id: str) -> None:
    operations.delete(request.context, id, force=boolean('force', request.query.get('force', 'false')))


@qos_specs.get('/{id}/associations', policy=f'{POLICY}:get_all')
def associations(request: Request, id: str) -> dict[str, Any]:
    named = operations.associations(request.context, id)
    rows = [{'association_type': 'volume_type', 'name': kind.name, 'id': kind.id} for kind in named]
    return {'qos_associations': rows}


@qos_specs.get('/{id}/associate', policy=f'{POLICY}:update', status=202)
def associate(request: Request, id: str) -> None:
    operations.associate(request.context, id, _type_id(request))


@qos_specs.get('/{id}/disassociate', policy=f'{POLICY}:update', status=202)
def disassociate(request: Request, id: str) -> None:
    operations.disassociate(request.context, id, _type_id(request))


@qos_specs.get('/{id}/disassociate_all', policy=f'{POLICY}:update', status=202)
def disassociate_all(request: Request, id: str) -> None:
    operations.disassociate_all(request.context, id)


def _type_id(request: Request) -> str:
    if not request.query.get('vol_type_id'):
        raise errors.Invalid('Volume Type id must not be None.')
    return request.query['vol_type_id']
