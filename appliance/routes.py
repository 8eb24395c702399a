"""The table of requests: method, path, verb, body. All checks of requests are here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from re import Pattern
from typing import Any, NamedTuple

from appliance import names
from appliance.errors import Invalid, NoRoute, OutOfSpace
from appliance.names import Key
from appliance.service import Answer, Appliance

Check = Callable[[Any], Any]

#: Bytes of one disk block; sizes are whole blocks.
_BLOCK = 512

#: tgt counts blocks in 64 bits; no store holds more than this.
_MAX_SIZE = 2**53

#: Snapshots in one request; a group of Cinderless has 47 volumes at most.
_MAX_GROUP = 64


def _size(value: Any) -> int:
    if type(value) is not int or not 0 < value <= _MAX_SIZE or value % _BLOCK:
        raise Invalid(f'size_bytes is {value!r:.40}: use a positive multiple of {_BLOCK}')
    return value


def _mode(value: Any) -> str:
    if value not in ('rw', 'ro'):
        raise Invalid(f'mode is {value!r:.40}: use rw or ro')
    return str(value)


def _source(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value.values()):
        raise Invalid('source is not an object of names')
    return value


def _snapshots(value: Any) -> dict[Key, str]:
    """Return snapshots with their volumes; at most one of each volume."""
    if not isinstance(value, list) or not value or len(value) > _MAX_GROUP:
        raise Invalid(f'snapshots is not a list of 1 to {_MAX_GROUP} objects')
    found = dict(map(_snapshot, value))
    if len({(key.pool, volume) for key, volume in found.items()}) != len(value):
        raise Invalid('snapshots names a snapshot or a volume twice')
    return found


def _snapshot(value: Any) -> tuple[Key, str]:
    kinds = ('pool', 'snapshot', 'volume')
    if not isinstance(value, dict) or set(value) != set(kinds):
        raise Invalid(f'each of snapshots has {", ".join(kinds)}')
    pool, snapshot, volume = (names.check(kind, value[kind]) for kind in kinds)
    return Key(pool, snapshot), volume


def _name(kind: str) -> Check:
    return lambda value: names.check(kind, value)


class Field(NamedTuple):
    check: Check
    required: bool = True


class Route(NamedTuple):
    """``path`` contains names of ``names.GRAMMAR`` in braces; a pool and an object together make a Key."""

    method: str
    path: str
    verb: Callable[..., Answer]
    body: Mapping[str, Field] = {}

    @property
    def pattern(self) -> Pattern[str]:
        return re.compile(re.sub(r'{(\w+)}', r'(?P<\1>[^/]+)', self.path))


def _deployment(value: Any) -> str:
    """Check the mark of the service that makes an object: the name and the id of its stack."""
    if not isinstance(value, str) or not re.fullmatch('[A-Za-z0-9][A-Za-z0-9_-]{0,179}', value):
        raise Invalid(f'deployment is {value!r:.40}: use letters, digits, - and _')
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise Invalid(f'{value!r:.40} is not true or false')
    return value


_VOLUME = '/v1/pools/{pool}/volumes/{volume}'
_SNAPSHOT = '/v1/pools/{pool}/snapshots/{snapshot}'
_EXPORT = '/v1/pools/{pool}/exports/{object}/{export_id}'

#: The optional mark of the sender in requests that make objects.
_MARK = {'deployment': Field(_deployment, False)}

ROUTES = [
    Route('GET', '/v1/health', Appliance.health),
    Route('GET', '/v1/capacity', Appliance.capacity),
    Route('GET', '/v1/sessions', Appliance.list_sessions),
    Route('GET', '/v1/pools/{pool}/objects', Appliance.list_objects),
    Route('GET', '/v1/pools/{pool}/objects/{any}', Appliance.show),
    Route('GET', '/v1/pools/{pool}/manageable', Appliance.list_manageable),
    Route('PUT', '/v1/pools/{pool}/released/{object}', Appliance.release),
    Route('GET', _VOLUME, Appliance.show),
    Route('PUT', _VOLUME, Appliance.create_volume,
          {'size_bytes': Field(_size), 'source': Field(_source, False), **_MARK}),
    Route('DELETE', _VOLUME, Appliance.delete),
    Route('PUT', _VOLUME + '/size', Appliance.extend_volume, {'size_bytes': Field(_size)}),
    Route('PUT', _VOLUME + '/data', Appliance.revert_volume, {'snapshot': Field(_name('snapshot'))}),
    Route('GET', _SNAPSHOT, Appliance.show),
    Route('PUT', _SNAPSHOT, Appliance.create_snapshot,
          {'volume': Field(_name('volume')), 'existing': Field(_name('any'), False), 'kept': Field(_flag, False),
           **_MARK}),
    Route('DELETE', _SNAPSHOT, Appliance.delete),
    Route('GET', _SNAPSHOT + '/changes/{older}/{start}/{stop}', Appliance.list_changes),
    Route('PUT', '/v1/pools/{pool}/retired/{snapshot}', Appliance.retire_snapshot),
    Route('PUT', '/v1/snapshots', Appliance.create_snapshots, {'snapshots': Field(_snapshots), **_MARK}),
    Route('GET', '/v1/pools/{pool}/exports', Appliance.list_exports),
    Route('PUT', _EXPORT, Appliance.create_export,
          {'initiator': Field(_name('initiator')), 'mode': Field(_mode)}),
    Route('DELETE', _EXPORT, Appliance.delete_export),
    Route('DELETE', '/v1/pools/{pool}/exports/{object}', Appliance.delete_exports),
]  # fmt: skip

_PATTERNS = [(route, route.pattern) for route in ROUTES]


def answer(appliance: Appliance, method: str, path: str, body: bytes) -> Answer:
    """Run a request; once more after kept snapshots were deleted for its sake. Raises an ApplianceError."""
    try:
        return _answer(appliance, method, path, body)
    except OutOfSpace:
        if not appliance.make_room():
            raise
        return _answer(appliance, method, path, body)


def _answer(appliance: Appliance, method: str, path: str, body: bytes) -> Answer:
    for route, pattern in _PATTERNS:
        match = pattern.fullmatch(path)
        if match and route.method == method:
            return route.verb(appliance, **_arguments(match.groupdict()), **_body(route, body))
    raise NoRoute(f'{method} {path!r:.200} is not a request of this agent')


def _arguments(found: dict[str, str]) -> dict[str, Any]:
    """Check every name of the path; pool and object become a Key."""
    checked = {kind: names.check(kind, name) for kind, name in found.items()}
    objects = [checked.pop(kind) for kind in ('volume', 'snapshot', 'object', 'any') if kind in checked]
    return {'key': Key(checked.pop('pool'), objects[0]), **checked} if objects else checked


def _body(route: Route, body: bytes) -> dict[str, Any]:
    document = _parse(body)
    unknown = set(document) - set(route.body)
    missing = {name for name, field in route.body.items() if field.required} - set(document)
    if unknown or missing:
        raise Invalid(f'the body lacks {sorted(missing)} and has unknown {sorted(unknown)!r:.200}')
    return {name: route.body[name].check(value) for name, value in document.items()}


def _parse(body: bytes) -> dict[str, Any]:
    """Raises Invalid for anything but a JSON object; no body is an empty one."""
    try:
        document = json.loads(body or b'{}')
    except (ValueError, RecursionError) as error:
        raise Invalid('the body is not JSON') from error
    if not isinstance(document, dict):
        raise Invalid('the body is not a JSON object')
    return document
