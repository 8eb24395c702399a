"""Volume types: what kinds of volume there are, who may use them, and the extra specs that choose a pool.

Types are few and read by every create: a process remembers all of them for ``TTL`` seconds, and forgets them when it
writes one itself.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import DefaultType, Name, QosSpecs, Quota, VolumeType, base
from chalicelib.operations import common
from chalicelib.rules import extra_specs as rules

#: Seconds that types are remembered.
TTL = 2

#: The type of a volume that asks for none, made on first use (Cinder's migrations make it).
DEFAULT = '__DEFAULT__'

#: Namespace of ids that are made of names: whoever makes the default type makes the same one.
NAMESPACE = uuid.UUID('5d2f3b3e-38e7-5b3a-9c55-0d6b0c3d9a70')

_known: list[tuple[float, dict[str, VolumeType]]] = []
_defaults: dict[str, tuple[float, str | None]] = {}


def forget() -> None:
    """Read the types again at their next use."""
    _known.clear()
    _defaults.clear()


def _types() -> dict[str, VolumeType]:
    if not _known or _known[0][0] < time.monotonic():
        types = {volume_type.id: volume_type for volume_type in base.every(VolumeType, base.GLOBAL)}
        _known[:] = [(time.monotonic() + TTL, types)]
    return _known[0][1]


def names() -> dict[str, str]:
    """Return {type id: name} of all types."""
    return {id: volume_type.name for id, volume_type in _types().items()}


def ensure_default() -> None:
    """Make Cinder's own default type where a new deployment has not met it yet; Cinder is installed with it."""
    if settings().default_volume_type == DEFAULT:
        common_default()


def by_id(id: str | None) -> VolumeType | None:
    """Return a type whoever asks: for tasks. None for none, and for one that is gone."""
    return _types().get(id) if id else None


def _is_visible(context: Context, volume_type: VolumeType) -> bool:
    return volume_type.is_public or context.is_admin or context.project_id in volume_type.projects


def get(context: Context, id: str) -> VolumeType:
    """Return the type with this id; raises VolumeTypeNotFound, for a private type of others as well."""
    volume_type = _types().get(id)
    if volume_type is None or not _is_visible(context, volume_type):
        raise errors.VolumeTypeNotFound(id=id)
    return volume_type


def find(context: Context, id_or_name: str) -> VolumeType:
    """Return the type with this id, else with this name; raises VolumeTypeNotFoundByName."""
    types = _types()
    named = [types[id_or_name]] if id_or_name in types else [one for one in types.values() if one.name == id_or_name]
    for volume_type in named:
        if _is_visible(context, volume_type):
            return volume_type
    if _is_uuid(id_or_name):
        raise errors.VolumeTypeNotFound(id=id_or_name)
    raise errors.VolumeTypeNotFoundByName(name=id_or_name)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def default(context: Context) -> VolumeType:
    """Return the type of a volume of the caller's that names none: the project's own default, else that of all.

    Raises VolumeTypeDefaultMisconfiguredError.
    """
    of_project = by_id(_chosen(context.project_id))
    return of_project if of_project and _is_visible(context, of_project) else common_default()


def _chosen(project_id: str) -> str | None:
    """The id of the type that an administrator chose for a project; remembered as types are."""
    known = _defaults.get(project_id)
    if known is None or known[0] < time.monotonic():
        found = DefaultType.query(base.GLOBAL, DefaultType.id == project_id, consistent_read=True)
        known = (time.monotonic() + TTL, next((default.volume_type_id for default in found), None))
        _defaults[project_id] = known
    return known[1]


def common_default() -> VolumeType:
    """Return the default type of projects that have none of their own; raises VolumeTypeDefaultMisconfiguredError."""
    name = settings().default_volume_type
    for volume_type in _types().values():
        if volume_type.name == name:
            return volume_type
    if name != DEFAULT:
        raise errors.VolumeTypeDefaultMisconfiguredError(name=name)
    return _make_default()


def _make_default() -> VolumeType:
    volume_type = VolumeType(
        base.GLOBAL,
        str(uuid.uuid5(NAMESPACE, DEFAULT)),
        created_at=base.now(),
        name=DEFAULT,
        description='Default Volume Type',
    )
    try:
        _add(volume_type)
    except errors.VolumeTypeExists:
        forget()
    return volume_type


def list_(context: Context, query: common.ListQuery, is_public: bool | None = True) -> tuple[list[VolumeType], bool]:
    """Return one page of the types that the caller may use, and whether more follow.

    ``is_public``: for administrators only public (True), only private (False) or all (None); others see the public
    ones and the private ones of their project.
    """
    common_default()
    types = _types()
    if query.marker is not None and query.marker not in types:
        raise errors.VolumeTypeNotFound(id=query.marker)
    visible = [one for one in types.values() if _is_listed(context, one, is_public)]
    return common.paged(visible, query, types.get(query.marker or ''))


def _is_listed(context: Context, volume_type: VolumeType, is_public: bool | None) -> bool:
    if not context.is_admin:
        return _is_visible(context, volume_type)
    return is_public is None or volume_type.is_public == is_public


def create(
    context: Context, *, name: str, description: str | None, is_public: bool, extra_specs: Mapping[str, str]
) -> VolumeType:
    """Make a type; raises VolumeTypeExists when the name is taken."""
    rules.check_cacheable(extra_specs)
    volume_type = VolumeType(
        base.GLOBAL,
        str(uuid.uuid4()),
        created_at=base.now(),
        name=name,
        description=description,
        is_public=is_public,
        extra_specs=dict(extra_specs),
    )
    _add(volume_type)
    return volume_type


def _add(volume_type: VolumeType) -> None:
    transaction = base.Transaction()
    _take_name(transaction, volume_type.name, volume_type.id)
    transaction.put(volume_type, VolumeType.id.does_not_exist(), lambda: errors.VolumeTypeExists(id=volume_type.name))
    transaction.commit()
    forget()


def _take_name(transaction: base.Transaction, name: str, owner: str) -> None:
    taken = Name(base.GLOBAL, f'volume_type:{name}', created_at=base.now(), owner=owner)
    transaction.put(taken, Name.id.does_not_exist(), lambda: errors.VolumeTypeExists(id=name))


def _give_name(transaction: base.Transaction, name: str) -> None:
    given = Name(base.GLOBAL, f'volume_type:{name}')
    transaction.delete(given, Name.id.exists(), lambda: errors.VolumeTypeNotFoundByName(name=name))


def update(context: Context, id: str, changes: Mapping[str, Any]) -> VolumeType:
    """Change name, description or is_public; quotas follow the new name, since they are kept by the type's id.

    Raises InvalidInput for another name of the default type: it is found by its name, and volumes would have none.
    """
    volume_type = get(context, id).reload()
    transaction = base.Transaction()
    if changes.get('name') not in {None, volume_type.name}:
        if volume_type.name == settings().default_volume_type:
            raise errors.InvalidInput(reason=f'{volume_type.name} is the default volume type and keeps its name.')
        _give_name(transaction, volume_type.name)
        _take_name(transaction, changes['name'], id)
    actions = [common.set_or_remove(getattr(VolumeType, key), value) for key, value in changes.items()]
    write(transaction, volume_type, actions)
    return volume_type.reload()


def write(transaction: base.Transaction, volume_type: VolumeType, actions: list[Any]) -> None:
    """Change a type as it was read, together with the rest of the transaction; raises Conflict when it has changed."""
    stage(transaction, volume_type, actions)
    transaction.commit()
    forget()


def stage(transaction: base.Transaction, volume_type: VolumeType, actions: list[Any]) -> None:
    """Add the change of a type to a transaction."""
    transaction.update(
        volume_type,
        [*actions, *base.touched(VolumeType)],
        VolumeType.revision == volume_type.revision,
        lambda: errors.Conflict(f'Volume Type {volume_type.id} is being changed by another request; try again.'),
    )


def delete(context: Context, id: str) -> None:
    """Remove a type that is neither a default nor in use."""
    volume_type = get(context, id).reload()
    if volume_type.id == common_default().id or _is_default_of_a_project(id):
        raise errors.VolumeTypeDefaultDeletionError(id=id)
    if is_in_use(id):
        raise errors.VolumeTypeInUse('Target volume type is still in use.')
    transaction = base.Transaction()
    _give_name(transaction, volume_type.name)
    transaction.delete(
        volume_type, VolumeType.revision == volume_type.revision, lambda: errors.VolumeTypeNotFound(id=id)
    )
    _leave_qos_specs(transaction, volume_type)
    transaction.commit()
    forget()


def _is_default_of_a_project(id: str) -> bool:
    return any(default.volume_type_id == id for default in base.every(DefaultType, base.GLOBAL))


def _leave_qos_specs(transaction: base.Transaction, volume_type: VolumeType) -> None:
    """Have the specs that the type names count it no more."""
    id = volume_type.qos_specs_id
    if id is not None:
        actions = [QosSpecs.association_count.add(-1), *base.touched(QosSpecs)]
        transaction.update(
            QosSpecs(base.GLOBAL, id), actions, QosSpecs.id.exists(), lambda: errors.QoSSpecsNotFound(id=id)
        )


def is_in_use(id: str) -> bool:
    """Tell whether any project has a volume or snapshot of the type, by the projects' counters."""
    counters = (f'volumes_{id}', f'snapshots_{id}')
    return any(quota.usage.attribute_values.get(name, 0) > 0 for quota in Quota.scan() for name in counters)


def extra_specs(context: Context, type_id: str) -> dict[str, str]:
    """Return a type's extra specs; those that show the backends only to administrators."""
    specs: dict[str, str] = get(context, type_id).extra_specs
    return dict(specs) if context.is_admin else {key: specs[key] for key in rules.USER_VISIBLE if key in specs}


def set_extra_specs(context: Context, type_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Add or change extra specs of a type that is not in use; return all."""

    def merged(known: dict[str, Any]) -> dict[str, Any]:
        rules.check_cacheable({**known, **specs})
        return {**known, **specs}

    return _change_specs(context, type_id, merged)


def delete_extra_spec(context: Context, type_id: str, key: str) -> None:
    """Remove one extra spec of a type that is not in use."""

    def without(known: dict[str, Any]) -> dict[str, Any]:
        if key not in known:
            raise errors.VolumeTypeExtraSpecsNotFound(id=type_id, key=key)
        return {name: value for name, value in known.items() if name != key}

    _change_specs(context, type_id, without)


def _change_specs(context: Context, type_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    volume_type = get(context, type_id)
    if is_in_use(type_id):
        raise errors.VolumeTypeInUse('Volume Type is currently in use.')
    changed = common.change_map(volume_type, 'extra_specs', change, common.any_status)
    forget()
    return changed


def project_access(context: Context, type_id: str) -> list[str]:
    """Return the projects that may use a private type."""
    volume_type = get(context, type_id)
    if volume_type.is_public:
        raise errors.VolumeTypeAccessNotFound('Access list not available for public volume types.')
    return sorted(volume_type.projects)


def add_project_access(context: Context, type_id: str, project_id: str) -> None:
    """Let a project use a private type; raises VolumeTypeAccessExists."""
    volume_type = _private(context, type_id)
    if project_id in volume_type.projects:
        raise errors.VolumeTypeAccessExists(id=type_id, project_id=project_id)
    write(base.Transaction(), volume_type, [VolumeType.projects.set([*volume_type.projects, project_id])])


def remove_project_access(context: Context, type_id: str, project_id: str) -> None:
    """Take a private type from a project; raises VolumeTypeAccessNotFound."""
    volume_type = _private(context, type_id)
    if project_id not in volume_type.projects:
        raise errors.VolumeTypeAccessNotFound(id=type_id, project_id=project_id)
    left = [project for project in volume_type.projects if project != project_id]
    write(base.Transaction(), volume_type, [VolumeType.projects.set(left)])


def _private(context: Context, type_id: str) -> VolumeType:
    volume_type = get(context, type_id).reload()
    if volume_type.is_public:
        raise errors.InvalidVolumeType(reason='Type access modification is not applicable to public volume type.')
    return volume_type
