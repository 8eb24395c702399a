"""Quotas of a project (os-quota-sets), and the defaults of all (os-quota-class-sets)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.filters import boolean
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import quotas, volume_types
from chalicelib.rules.quotas import PER_TYPE, UNLIMITED

quota_sets = Resource('os-quota-sets')
quota_class_sets = Resource('os-quota-class-sets')

SHOW = 'volume_extension:quotas:show'

#: Members that a body may repeat from the shown quota set.
NO_RESOURCES = ('id', 'tenant_id')

UPDATE = p.only('quota_set', p.bounded('quota.limits', {'type': 'object', 'minProperties': 1}))
UPDATE_CLASS = p.only(
    'quota_class_set',
    p.bounded(
        'quota.limits',
        p.pairs(
            '^[a-zA-Z0-9-_:. ]{1,300}$',
            {
                'type': ['integer', 'string'],
                'pattern': '^[0-9]*$',
                'minimum': UNLIMITED,
                'maximum': p.MAX_INT,
                'minLength': 1,
                'maxLength': len(str(p.MAX_INT)),
            },
        ),
    ),
)


@quota_sets.get('/{id}', policy=SHOW, owned_by='id')
def show(request: Request, id: str) -> dict[str, Any]:
    """Return the limits, or with ``usage`` each with its use and reservations."""
    with_usage = boolean('usage', request.query.get('usage', 'false'))
    volume_types.ensure_default()
    shown: Mapping[str, Any] = quotas.usages(id) if with_usage else quotas.limits(id)
    return {'quota_set': {**shown, 'id': id}}


@quota_sets.get('/{id}/defaults', policy=SHOW, owned_by='id')
def defaults(request: Request, id: str) -> dict[str, Any]:
    return {'quota_set': {**_class_limits('default'), 'id': id}}


@quota_sets.put('/{id}', policy='volume_extension:quotas:update', owned_by='id', schema=UPDATE)
def update(request: Request, id: str) -> dict[str, Any]:
    sent = request.body['quota_set']
    changes = {name: _limit(name, value) for name, value in sent.items() if name not in NO_RESOURCES}
    return {'quota_set': quotas.update(id, changes)}


def _limit(name: str, value: Any) -> int:
    """Return a limit to set: -1 is unlimited."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.MalformedRequest
    if not UNLIMITED <= value <= p.MAX_INT:
        bound = f'>= {UNLIMITED}' if value < 0 else f'<= {p.MAX_INT}'
        raise errors.Invalid(f'{name} must be {bound}')
    return value


@quota_sets.delete('/{id}', policy='volume_extension:quotas:delete', owned_by='id')
def delete(request: Request, id: str) -> None:
    quotas.delete(id)


@quota_class_sets.get('/{id}', policy='volume_extension:quota_classes:get')
def show_class(request: Request, id: str) -> dict[str, Any]:
    return {'quota_class_set': {**_class_limits(id), 'id': id}}


@quota_class_sets.put('/{id}', policy='volume_extension:quota_classes:update', schema=UPDATE_CLASS)
def update_class(request: Request, id: str) -> dict[str, Any]:
    changes = {name: int(value) for name, value in request.body['quota_class_set'].items()}
    quotas.update_class(id, changes)
    return {'quota_class_set': _class_limits(id)}


def _class_limits(name: str) -> dict[str, int]:
    """Return the class's limits; those of volume types are unlimited by default."""
    volume_types.ensure_default()
    of_types = {
        f'{resource}_{type_name}': UNLIMITED for type_name in volume_types.names().values() for resource in PER_TYPE
    }
    return {**quotas.defaults(), **of_types, **quotas.class_limits(name)}
