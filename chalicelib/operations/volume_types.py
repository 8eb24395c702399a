"""Volume types: what kinds of volume there are, who may use them, and the extra specs that choose a pool.

Types are few and needed by every create: a process remembers all of them. What is remembered serves two readers only:

* views, which show a name that is at most ``TTL`` seconds old;
* requests that use a type in a transaction with ``add_check_to``, which fails for a changed type, whatever the age.
  ``again`` then serves the request on types that are read again; it does so too before it refuses anything.

Everything else reads the record.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.context_values import bound
from chalicelib.models import DefaultType, Group, Name, QosSpecs, Quota, Snapshot, Volume, VolumeType, base, claims
from chalicelib.operations import common, type_locks
from chalicelib.rules import bounds
from chalicelib.rules import extra_specs as rules

#: Seconds for which views show a name that is remembered.
TTL = 2

#: The type of a volume whose request names none, made on first use (Cinder's migrations make it).
DEFAULT = '__DEFAULT__'

#: Namespace of ids that are made of names: concurrent creations of the default type make the same one.
NAMESPACE = uuid.UUID('5d2f3b3e-38e7-5b3a-9c55-0d6b0c3d9a70')

T = TypeVar('T')

#: {type id: the type}, as last read; nothing before that.
_known: list[dict[str, VolumeType]] = []

#: Type id -> (until when views show it, the name; None for a type that is gone).
_names: dict[str, tuple[float, str | None]] = {}

#: Whether the request being served has used types that were read before it.
_trusting: contextvars.ContextVar[bool] = contextvars.ContextVar('types_trusted', default=False)

#: Types that the task under way has read.
_read: contextvars.ContextVar[dict[str, VolumeType] | None] = contextvars.ContextVar('types_read', default=None)


def forget() -> None:
    """Read the types again at their next use."""
    _known.clear()
    _names.clear()


def again(serve: Callable[[], T]) -> T:
    """Return what ``serve`` returns; serve again, on types read again, while one that it uses changes under it.

    A refusal (400, 404) that may come from remembered types is not final: no transaction has checked them.
    """
    token = _trusting.set(False)
    try:
        return type_locks.again(serve, forget)
    except (errors.Invalid, errors.NotFound):
        if not _trusting.get():
            raise
    finally:
        _trusting.reset(token)
    forget()
    return type_locks.again(serve, forget)


def add_check_to(transaction: base.Transaction, volume_type: VolumeType) -> None:
    """Add the condition that a type is as it was read (``type_locks``): the rest of the transaction uses it."""
    type_locks.add_check_to(transaction, volume_type)


def _every() -> dict[str, VolumeType]:
    """Read all types, and remember them."""
    types = {volume_type.id: volume_type for volume_type in base.every(VolumeType, base.GLOBAL)}
    _known[:] = [types]
    _names.clear()
    for volume_type in types.values():
        note_name(volume_type)
    return types


def _remembered() -> dict[str, VolumeType]:
    """All types, of any age: for requests that ``add_check_to`` what they use, inside ``again``."""
    if _known:
        _trusting.set(True)
    else:
        _every()
    return _known[0]


def names() -> dict[str, str]:
    """Return {type id: name} of all types, as they are now."""
    return {id: volume_type.name for id, volume_type in _every().items()}


def shown_name(id: str | None) -> str | None:
    """Return a type's name for a view: at most ``TTL`` seconds old; None for no type, and for one that is gone."""
    if id is None:
        return None
    if not _is_shown(id):
        _every()
    if not _is_shown(id):
        refresh_name(id)
    return _names[id][1]


def _is_shown(id: str) -> bool:
    return id in _names and time.monotonic() <= _names[id][0]


def are_shown() -> bool:
    """Return whether the names of all types are recent enough for views."""
    return bool(_names) and time.monotonic() <= min(until for until, _ in _names.values())


def refresh_name(id: str | None) -> None:
    """Read the type whose name a view is about to show, unless it is known: one record, in place of all."""
    if id is not None and not _is_shown(id):
        found = read_if_there(id)
        _names[id] = (time.monotonic() + TTL, found.name if found else None)


def note_name(volume_type: VolumeType) -> None:
    """Have views show the name of a type that has just been read, or checked by a transaction."""
    _names[volume_type.id] = (time.monotonic() + TTL, volume_type.name)


def ensure_default() -> None:
    """Make Cinder's own default type where a new deployment has not met it yet; Cinder is installed with it."""
    if settings().default_volume_type == DEFAULT:
        common_default()


def reading_once() -> AbstractContextManager[None]:
    """Have ``read`` read each type once until the context ends: what one task needs to know of it."""
    return bound(_read, {})


def read(id: str) -> VolumeType:
    """Return a type, read consistently, for tasks: whatever the caller's project. Raises VolumeTypeNotFound."""
    known = _read.get()
    if known is None:
        return VolumeType.find(base.GLOBAL, id)
    if id not in known:
        known[id] = VolumeType.find(base.GLOBAL, id)
    return known[id]


def read_if_there(id: str | None) -> VolumeType | None:
    """Return a type, read consistently; None for none, and for one that is gone."""
    with contextlib.suppress(errors.VolumeTypeNotFound):
        return read(id) if id else None
    return None


def of(record: Volume | Snapshot) -> VolumeType | None:
    """Return the type that a record has, read consistently; None for a record without a type.

    Raises VolumeTypeNotFound for a type that is gone: nothing is known of what such a record needs.
    """
    return read(record.volume_type_id) if record.volume_type_id else None


def _is_visible(context: Context, volume_type: VolumeType) -> bool:
    return volume_type.is_public or context.is_admin or context.project_id in volume_type.projects


def get(context: Context, id: str) -> VolumeType:
    """Return the type with this id, read consistently; raises VolumeTypeNotFound, for a private type of others too."""
    volume_type = read_if_there(id) if 0 < len(id) <= common.LONGEST_ID else None
    if volume_type is None or not _is_visible(context, volume_type):
        raise errors.VolumeTypeNotFound(id=id)
    return volume_type


def find(context: Context, id_or_name: str) -> VolumeType:
    """Return the type with this id, else with this name; raises VolumeTypeNotFoundByName.

    It may be old: use it with ``add_check_to``, inside ``again``.
    """
    found = _named(context, id_or_name, _remembered().values()) or _named(context, id_or_name, _every().values())
    if found:
        return found
    if _is_uuid(id_or_name):
        raise errors.VolumeTypeNotFound(id=id_or_name)
    raise errors.VolumeTypeNotFoundByName(name=id_or_name)


def _named(context: Context, id_or_name: str, types: Iterable[VolumeType]) -> VolumeType | None:
    visible = [one for one in types if _is_visible(context, one)]
    with_id = [one for one in visible if one.id == id_or_name]
    return next(iter([*with_id, *(one for one in visible if one.name == id_or_name)]), None)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def default(context: Context) -> VolumeType:
    """Return the type of a volume of the caller's that names none: the project's own default, else that of all.

    It may be old: use it with ``add_check_to``, inside ``again``. Raises VolumeTypeDefaultMisconfiguredError.
    """
    chosen = _chosen(context.project_id)
    of_project = chosen and (_remembered().get(chosen) or read_if_there(chosen))
    return of_project if of_project and _is_visible(context, of_project) else common_default()


def _chosen(project_id: str) -> str | None:
    """The id of the type that an administrator chose for a project, read consistently."""
    found = DefaultType.find_or_none(base.GLOBAL, project_id)
    return found.volume_type_id if found else None


def common_default() -> VolumeType:
    """Return the default type of projects without their own, as ``default`` does."""
    name = settings().default_volume_type
    for read_types in (_remembered, _every):
        for volume_type in read_types().values():
            if volume_type.name == name:
                return volume_type
    if name != DEFAULT:
        raise errors.VolumeTypeDefaultMisconfiguredError(name=name)
    return _make_default()


def _make_default() -> VolumeType:
    volume_type = VolumeType(
        base.GLOBAL,
        generated_default_id(),
        created_at=base.now(),
        name=DEFAULT,
        description='Default Volume Type',
    )
    try:
        with claims.in_force(None):  # not the work of the request
            _add(volume_type)
    except errors.VolumeTypeExists:
        forget()
    return volume_type


def generated_default_id() -> str:
    """Return the id of the default type that this service makes, the same in every deployment."""
    return str(uuid.uuid5(NAMESPACE, DEFAULT))


def remove_generated_default() -> None:
    """Remove the default type that this service made, unless it is in use: another one is about to take its name."""
    with contextlib.suppress(errors.TypeChanged, errors.VolumeTypeInUse, errors.VolumeTypeDefaultDeletionError):
        volume_type = read_if_there(generated_default_id())
        if volume_type is not None and volume_type.name == DEFAULT:
            _remove_unused(volume_type)


def list_(context: Context, query: common.ListQuery, is_public: bool | None = True) -> tuple[list[VolumeType], bool]:
    """Return one page of the types that the caller may use, and whether more follow.

    ``is_public``: for administrators only public (True), only private (False) or all (None); others see the public
    ones and the private ones of their project.
    """
    common_default()
    types = _every()
    if query.marker is not None and query.marker not in types:
        raise errors.VolumeTypeNotFound(id=query.marker)
    visible = [one for one in types.values() if _is_listed(context, one, is_public)]
    return common.paged(visible, query, types.get(query.marker or ''))


def _is_listed(context: Context, volume_type: VolumeType, is_public: bool | None) -> bool:
    if not context.is_admin:
        return _is_visible(context, volume_type)
    return is_public is None or volume_type.is_public == is_public


@claims.made_once('VolumeType')
def create(
    context: Context, *, name: str, description: str | None, is_public: bool, extra_specs: Mapping[str, str]
) -> VolumeType:
    """Make a type; raises VolumeTypeExists when the name is taken, AttributeTooLarge for one type too many."""
    rules.check_cacheable(extra_specs)
    bounds.check_types(len(_every()) + 1)
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
    with base.Transaction() as transaction:
        _add_name_to(transaction, volume_type.name, volume_type.id)
        transaction.put(
            volume_type, VolumeType.id.does_not_exist(), lambda: errors.VolumeTypeExists(id=volume_type.name)
        )
    forget()


def _add_name_to(transaction: base.Transaction, name: str, owner: str) -> None:
    taken = Name(base.GLOBAL, f'volume_type:{name}', created_at=base.now(), owner=owner)
    transaction.put(taken, Name.id.does_not_exist(), lambda: errors.VolumeTypeExists(id=name))


def _add_name_removal_to(transaction: base.Transaction, name: str) -> None:
    given = Name(base.GLOBAL, f'volume_type:{name}')
    transaction.delete(given, Name.id.exists(), lambda: errors.VolumeTypeNotFoundByName(name=name))


def update(context: Context, id: str, changes: Mapping[str, Any]) -> VolumeType:
    """Change name, description or is_public; quotas follow the new name, since they are kept by the type's id.

    Raises InvalidInput for another name of the default type: it is found by its name, and volumes would have none.
    """
    return again(lambda: _update(context, id, changes))


def _update(context: Context, id: str, changes: Mapping[str, Any]) -> VolumeType:
    volume_type = get(context, id)
    transaction = base.Transaction()
    if changes.get('name') not in {None, volume_type.name}:
        if volume_type.name == settings().default_volume_type:
            raise errors.InvalidInput(reason=f'{volume_type.name} is the default volume type and keeps its name.')
        _add_name_removal_to(transaction, volume_type.name)
        _add_name_to(transaction, changes['name'], id)
    actions = [common.set_or_remove(getattr(VolumeType, key), value) for key, value in changes.items()]
    commit_change(transaction, volume_type, actions)
    return volume_type.reload()


def commit_change(transaction: base.Transaction, volume_type: VolumeType, actions: list[Any]) -> None:
    """Change a type as it was read, with the rest of the transaction; raises TypeChanged when it has changed."""
    add_change_to(transaction, volume_type, actions)
    transaction.commit()
    forget()


def add_change_to(transaction: base.Transaction, volume_type: VolumeType, actions: list[Any]) -> None:
    """Add the change of a type to a transaction; one that was closed for it is open afterwards."""
    type_locks.add_change_to(transaction, volume_type, [*actions, VolumeType.closed.remove()])


def delete(context: Context, id: str) -> None:
    """Remove a type that is neither a default nor in use."""
    again(lambda: _delete(context, id))


def _delete(context: Context, id: str) -> None:
    volume_type = get(context, id)
    if volume_type.id == common_default().id:
        raise errors.VolumeTypeDefaultDeletionError(id=id)
    _remove_unused(volume_type)


def _remove_unused(volume_type: VolumeType) -> None:
    """Remove a type. Raises VolumeTypeInUse, VolumeTypeDefaultDeletionError for a project's default, TypeChanged."""
    id = volume_type.id
    with type_locks.closed(volume_type):
        if _is_default_of_a_project(id):
            raise errors.VolumeTypeDefaultDeletionError(id=id)
        if is_in_use(id) or _has_groups(id):
            raise errors.VolumeTypeInUse('Target volume type is still in use.')
        with base.Transaction() as transaction:
            _add_name_removal_to(transaction, volume_type.name)
            same = VolumeType.revision == volume_type.revision
            transaction.delete(volume_type, same, lambda: type_locks.changed(volume_type))
            if volume_type.qos_specs_id is not None:
                add_association_count_to(transaction, volume_type.qos_specs_id, -1)
    forget()


def _is_default_of_a_project(id: str) -> bool:
    return any(default.volume_type_id == id for default in base.every(DefaultType, base.GLOBAL))


def add_association_count_to(transaction: base.Transaction, specs_id: str, delta: int) -> None:
    """Have QoS specs count so many types more that name them; raises QoSSpecsNotFound."""
    actions = [QosSpecs.association_count.add(delta), *base.touched(QosSpecs)]
    gone = errors.QoSSpecsNotFound(id=specs_id)
    transaction.update(QosSpecs(base.GLOBAL, specs_id), actions, QosSpecs.id.exists(), lambda: gone)


def is_in_use(id: str) -> bool:
    """Return whether any project has a volume or snapshot of the type, by the projects' counters.

    The answer holds only while the type is closed (``type_locks.closed``).
    """
    counters = (f'volumes_{id}', f'snapshots_{id}')
    quotas = Quota.scan(consistent_read=True)
    return any(quota.usage.attribute_values.get(name, 0) > 0 for quota in quotas for name in counters)


def _has_groups(id: str) -> bool:
    return any(id in group.volume_type_ids for group in base.every(Group, None))


def change_unused(context: Context, id: str, refusal: str, change: Callable[[VolumeType], list[Any]]) -> VolumeType:
    """Change a type that no volume or snapshot has, by the actions that ``change`` returns; return it as it was read.

    ``change`` may be called again for a type that changes meanwhile. Raises VolumeTypeInUse with the ``refusal``.
    """

    def serve() -> VolumeType:
        volume_type = get(context, id)
        with type_locks.closed(volume_type):
            if is_in_use(id):
                raise errors.VolumeTypeInUse(refusal)
            commit_change(base.Transaction(), volume_type, change(volume_type))
        return volume_type

    return again(serve)
