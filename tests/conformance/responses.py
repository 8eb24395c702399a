"""Which keys a response has, and of which type, at every version that changes them, to administrators and members."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from tests.api.front_door import FrontDoor
from tests.conformance.check_project import World, send
from tests.conformance.entries import route
from tests.conformance.facts import Checks, Entry, accidental, entries, version

#: Maps whose keys are the backend's or the user's: what the facts name there are examples.
FREE = re.compile(
    r'(connection_info|capabilities|levels|metadata|extra_specs|group_specs|volume_image_metadata|save_volume_id)(\..*)?$'
)

#: Entries whose body is a bare pair, or not below a version.
UNNAMED = (
    'GET /group_types/{group_type_id}/group_specs/{id}',
    'PUT /group_types/{group_type_id}/group_specs/{id}',
    'GET /',
    'GET /types/{type_id}/extra_specs/{id}',
    'PUT /types/{type_id}/extra_specs/{id}',
)

TYPES = {
    'string': str, 'integer': int, 'boolean': bool, 'object': dict, 'array': list, 'null': type(None), 'datetime': str,
}  # fmt: skip

DATE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6}|Z|[+-]\d\d:\d\d)?')


def checks(door: FrontDoor) -> Checks:
    for id, entry in entries().items():
        if entry['response_fields'] and id not in UNNAMED and not accidental(entry):
            for at in _versions(entry):
                for role in 'admin', 'member':
                    if entry['observed_status_by_role'][role] in entry['success_codes']:
                        yield f'response {id} at {at} as {role}', functools.partial(_wrong, door, entry, at, role)


def _versions(entry: Entry) -> list[str]:
    """The first and the last version, and around every change."""
    low = version(entry['min_version'])
    turns = {version(field.get('min_version')) for field in entry['response_fields']}
    near = {low, (3, 71)} | turns | {(major, minor - 1) for major, minor in turns}
    return [f'{major}.{minor}' for major, minor in sorted(near) if (major, minor) >= low]


def _wrong(door: FrontDoor, entry: Entry, at: str, role: str) -> str | None:
    if route(entry) is None:
        return 'no route'
    answer = send(World(door), entry, role, at)
    if answer.status not in entry['success_codes']:
        return f'{answer.status}: {answer.text[:300]}'
    found = dict(_flat(answer.body, ''))
    known = [field for field in entry['response_fields'] if version(field.get('min_version')) <= version(at)]
    mine = [field for field in known if role == 'admin' or not field.get('admin_only')]
    complaints = [*_missing(mine, found), *_surplus(mine, found), *_mistyped(mine, found)]
    return '; '.join(complaints) or None


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything in a body; ``[]`` is any element."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f'{path}.{key}' if path else key)
    elif isinstance(value, list):
        for inner in value[:3]:
            yield from _flat(inner, f'{path}[]')


def _missing(fields: list[dict[str, Any]], found: dict[str, Any]) -> Iterator[str]:
    for field in fields:
        name = field['name']
        holder = re.sub(r'\.[^.]*$', '', name) if '.' in name else ''
        if '<' in name or field.get('when') or FREE.search(holder) or (holder and not _filled(found, holder)):
            continue
        if name not in found:
            yield f'lacks {name}'


def _filled(found: dict[str, Any], holder: str) -> bool:
    """Whether what would hold the key is there at all, and is not an empty list."""
    return holder in found and found[holder] is not None


def _surplus(fields: list[dict[str, Any]], found: dict[str, Any]) -> Iterator[str]:
    known = [re.compile(re.sub(r'<[^>]*>', '[^.]+', re.escape(name).replace(r'\<', '<').replace(r'\>', '>')))
             for name in {holder for field in fields for holder in _holders(field['name'])}]  # fmt: skip
    for name in found:
        if name.endswith('[]') or FREE.search(name):
            continue
        if not any(pattern.fullmatch(name) for pattern in known):
            yield f'has {name}'


def _holders(name: str) -> Iterator[str]:
    """The name, and those of all that it is in."""
    parts = name.split('.')
    return ('.'.join(parts[: place + 1]) for place in range(len(parts)))


def _mistyped(fields: list[dict[str, Any]], found: dict[str, Any]) -> Iterator[str]:
    for field in fields:
        if field['name'] not in found:
            continue
        value, words = found[field['name']], str(field['type']).split('|')
        kinds = tuple(TYPES[word] for word in words)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            yield f'{field["name"]} is {value!r}, not {field["type"]}'
        if 'datetime' in words and value and not DATE.fullmatch(str(value)):
            yield f'{field["name"]} is {value!r}, no date'
