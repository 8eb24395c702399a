"""Group types: what kinds of group there are, and the group specs that choose a backend.

They are few, and read only when a group is made or a type is requested: nothing is cached.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Group, GroupType, Name, base, claims
from chalicelib.operations import common, type_locks
from chalicelib.operations.volume_types import NAMESPACE
from chalicelib.rules import group_specs as rules


def _every() -> dict[str, GroupType]:
    return {group_type.id: group_type for group_type in base.every(GroupType, base.GLOBAL)}


def _is_visible(context: Context, group_type: GroupType) -> bool:
    return group_type.is_public or context.is_admin


def get(context: Context, id: str) -> GroupType:
    """Return the type with this id; raises GroupTypeNotFound, for a private type too unless to administrators."""
    found = read(id)
    if not _is_visible(context, found):
        raise errors.GroupTypeNotFound(id=id)
    return found


def read(id: str) -> GroupType:
    """Return a type, read consistently, for tasks: private ones too. Raises GroupTypeNotFound."""
    if not 0 < len(id) <= common.LONGEST_ID:
        raise errors.GroupTypeNotFound(id=id)
    return GroupType.find(base.GLOBAL, id)


def find(context: Context, id_or_name: str) -> GroupType:
    """Return the type with this id, else with this name; raises GroupTypeNotFound, GroupTypeNotFoundByName."""
    if id_or_name == rules.CONSISTENCY_GROUPS:
        return consistency_groups()
    types = _every()
    named = [types[id_or_name]] if id_or_name in types else [one for one in types.values() if one.name == id_or_name]
    for group_type in named:
        if _is_visible(context, group_type):
            return group_type
    raise errors.GroupTypeNotFoundByName(name=id_or_name)


def consistency_groups() -> GroupType:
    """Return the type of legacy consistency groups, made on first use (Cinder's migrations make it)."""
    id = consistency_groups_id()
    known = GroupType.find_or_none(base.GLOBAL, id)
    if known is not None:
        return known
    made = GroupType(
        base.GLOBAL,
        id,
        created_at=base.now(),
        name=rules.CONSISTENCY_GROUPS,
        description='Default group type for migrating cgsnapshot',
        group_specs={rules.CONSISTENT: rules.TRUE},
    )
    with contextlib.suppress(errors.GroupTypeExists), claims.in_force(None):  # not the work of the request
        _add(made)
    return made


def consistency_groups_id() -> str:
    """Return the id of the type of legacy consistency groups, which is the same in every deployment."""
    return str(uuid.uuid5(NAMESPACE, rules.CONSISTENCY_GROUPS))


def list_(context: Context, query: common.ListQuery, is_public: bool | None = True) -> tuple[list[GroupType], bool]:
    """Return one page of the types that the caller may see, and whether more follow.

    ``is_public``, for administrators: only public (True), only private (False) or all (None).
    """
    consistency_groups()
    types = _every()
    if query.marker is not None and query.marker not in types:
        raise errors.GroupTypeNotFound(id=query.marker)
    wanted = is_public if context.is_admin else True
    shown = [one for one in types.values() if wanted is None or one.is_public == wanted]
    return common.paged(shown, query, types.get(query.marker or ''))


@claims.made_once('GroupType')
def create(
    context: Context, *, name: str, description: str | None, is_public: bool, group_specs: Mapping[str, str]
) -> GroupType:
    """Make a type; raises GroupTypeExists when the name is taken."""
    group_type = GroupType(
        base.GLOBAL,
        str(uuid.uuid4()),
        created_at=base.now(),
        name=name,
        description=description,
        is_public=is_public,
        group_specs=dict(group_specs),
    )
    _add(group_type)
    return group_type


def _add(group_type: GroupType) -> None:
    taken = errors.GroupTypeExists(id=group_type.name)
    with base.Transaction() as transaction:
        transaction.put(_name(group_type.name, group_type.id), Name.id.does_not_exist(), lambda: taken)
        transaction.put(group_type, GroupType.id.does_not_exist(), lambda: taken)


def _name(name: str, owner: str) -> Name:
    return Name(base.GLOBAL, f'group_type:{name}', created_at=base.now(), owner=owner)


def update(context: Context, id: str, changes: Mapping[str, Any]) -> GroupType:
    """Change name, description or is_public. Raises GroupTypeExists when the new name is taken."""
    return type_locks.again(lambda: _update(context, id, changes))


def _update(context: Context, id: str, changes: Mapping[str, Any]) -> GroupType:
    group_type = get(context, id)
    with base.Transaction() as transaction:
        if changes.get('name') not in {None, group_type.name}:
            taken = errors.GroupTypeExists(id=changes['name'])
            transaction.delete(_name(group_type.name, id), Name.id.exists(), lambda: type_locks.changed(group_type))
            transaction.put(_name(changes['name'], id), Name.id.does_not_exist(), lambda: taken)
        actions = [common.set_or_remove(getattr(GroupType, key), value) for key, value in changes.items()]
        type_locks.add_change_to(transaction, group_type, actions)
    return group_type.reload()


def delete(context: Context, id: str) -> None:
    """Remove a type that no group has."""
    type_locks.again(lambda: _delete(get(context, id)))


def _delete(group_type: GroupType) -> None:
    with type_locks.closed(group_type):
        if is_in_use(group_type.id):
            raise errors.GroupTypeInUse(id=group_type.id)
        with base.Transaction() as transaction:
            transaction.delete(
                _name(group_type.name, group_type.id), Name.id.exists(), lambda: type_locks.changed(group_type)
            )
            same = GroupType.revision == group_type.revision
            transaction.delete(group_type, same, lambda: type_locks.changed(group_type))


def is_in_use(id: str) -> bool:
    """Return whether any project has a group of the type; the answer holds only while the type is closed."""
    return any(group.group_type_id == id for group in base.every(Group, None))


def set_group_specs(context: Context, id: str, specs: Mapping[str, str]) -> dict[str, Any]:
    """Add or change group specs; return all."""
    return _change_specs(context, id, lambda known: {**known, **specs})


def delete_group_spec(context: Context, id: str, key: str) -> None:
    """Remove one group spec; raises GroupTypeSpecsNotFound."""
    missing = errors.GroupTypeSpecsNotFound(id=id, key=key)
    _change_specs(context, id, lambda known: common.without(key, missing, known))


def _change_specs(context: Context, id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    return common.change_map(get(context, id), 'group_specs', change, common.any_status)
