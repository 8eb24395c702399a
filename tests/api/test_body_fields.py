"""Every member that a body may have is read by its handler, or is listed here with the reason why it is not.

A member that is taken and read by nothing is a promise that is not kept; one that is stored and compared with nothing
(a backup's zone was) is an error that shows late, or never.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.api.resources import routes

_WHOLE = 'handed on as a whole: '
_TEXTS = frozenset({'name', 'description', 'display_name', 'display_description'})
_HINT = f'{_WHOLE}a filter of the scheduler reads it (docs/reference/scheduler.md)'
_ENCRYPTION = f'{_WHOLE}the columns of volume_type_encryption, which Nova reads and Cinder does not check'
_MAP = 'api/standard_routes.py reads it'
_KEEP = f'{_WHOLE}rules/retention.py reads it'

#: (module, handler, member) -> why the handler does not name it.
NOT_NAMED: Mapping[tuple[str, str, str], str] = {
    **{('backup_schedules', verb, name): _KEEP for verb in ('create', 'update') for name in
       ('last', 'hourly', 'daily', 'weekly', 'monthly')},
    ('backups', 'scrub', 'sample'): f'{_WHOLE}the argument of backup_checks.scrub',
    ('group_actions', 'failover_replication', 'allow_attached_volume'): 'refused: no driver replicates groups',
    ('group_actions', 'failover_replication', 'secondary_backend_id'): 'refused: no driver replicates groups',
    **{('type_encryption', verb, name): _ENCRYPTION for verb in ('create', 'update') for name in
       ('cipher', 'control_location', 'provider')},
    ('extra_specs', 'create', 'extra_specs'): _MAP,
    **{(f'{kind}_metadata', verb, member): _MAP for kind in ('snapshot', 'volume') for verb, member in
       (('create', 'metadata'), ('update_all', 'metadata'), ('update', 'meta'))},
    ('volume_images', 'upload_image', 'force'): "Cinder's enable_force_upload is off by default: in-use is refused",
    ('group_types', 'update', 'description'): f'{_WHOLE}the changes of a group type',
    ('volume_types', 'update', 'description'): f'{_WHOLE}the changes of a volume type',
    **{('volumes', 'create', name): _HINT for name in ('different_host', 'same_host', 'local_to_instance', 'query')},
}  # fmt: skip


def members(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a schema's members, those of members within as well."""
    for name, part in schema.get('properties', {}).items():
        yield name
        yield from members(part)


@functools.cache
def definitions(module: str) -> dict[str, ast.AST]:
    """What a module defines at its top, by name."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def texts_of(module: str, function: str) -> set[str]:
    """All texts in a function and in what it uses of its module."""
    known, todo, texts = definitions(module), [function], set()
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        for node in ast.walk(known[name]):
            if isinstance(node, ast.Name):
                todo.append(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
    return texts


def unnamed() -> set[tuple[str, str, str]]:
    found = set()
    for route in routes():
        handler = inspect.unwrap(route.handler)
        if route.schema is not None:
            texts = texts_of(handler.__module__, handler.__name__)
            module = handler.__module__.rpartition('.')[2]
            found |= {(module, handler.__name__, name) for name in members(route.schema.schema) if name not in texts}
    return {place for place in found if not (place[2] in _TEXTS and reads_texts(place))}


def reads_texts(place: tuple[str, str, str]) -> bool:
    """Whether a handler reads names and descriptions by the helpers that know both spellings."""
    source = inspect.getsource(sys.modules[f'chalicelib.api.{place[0]}'])
    return 'texts(' in source or 'stripped(' in source


def test_every_member_is_read_or_has_a_reason() -> None:
    assert unnamed() - NOT_NAMED.keys() == set()


def test_no_reason_is_left_over() -> None:
    assert NOT_NAMED.keys() - unnamed() == set()


def test_the_search_sees_what_a_handler_leaves_out() -> None:
    assert 'container' in texts_of('chalicelib.api.backups', 'create')
    assert 'container' not in texts_of('chalicelib.api.backups', 'update')
