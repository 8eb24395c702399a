"""Types under use: a new user and a change that needs the type unused exclude each other.

A new user (a volume, a group, a project's default) calls ``add_check_to`` for the transaction that records it: the type
is as it was read, and open. A change that is allowed only without users runs in ``closed``: the type is first closed,
in a write of its own, then its users are looked for, then it is changed under the condition that it is still closed. A
user recorded before the closing is found; a user that comes after it loses its condition, opens the type again, and
thereby makes the change lose. So a process that dies between the steps leaves nothing that a later request does not
undo, and no clock is involved. Source of the rule: Cinder's foreign keys and its checks under one database transaction.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from chalicelib import errors
from chalicelib.models import GroupType, VolumeType, base

#: A request whose types change while it is served is served again this often.
ATTEMPTS = 8

T = TypeVar('T')

#: What can be closed.
Type = VolumeType | GroupType


def add_check_to(transaction: base.Transaction, kind: Type) -> None:
    """Add the condition that a type is as it was read, and open; raises TypeChanged, for one that is gone too."""
    model = type(kind)
    same = (model.revision == kind.revision) & model.closed.does_not_exist()
    transaction.check(kind, same, functools.partial(_changed, kind))


def _changed(kind: Type) -> errors.TypeChanged:
    """The error of a type that was changed meanwhile; one that is closed is opened first."""
    with contextlib.suppress(kind.not_found):
        found = kind.reload()
        if found.closed:
            reopen(found)
    return changed(kind)


def changed(kind: Type) -> errors.TypeChanged:
    """The error of a write under the condition that a type is as it was read."""
    return errors.TypeChanged(resource=kind.resource, id=kind.id)


def add_change_to(transaction: base.Transaction, kind: Type, actions: list[Any]) -> None:
    """Add the change of a type, as it was read, to a transaction."""
    model = type(kind)
    same = model.revision == kind.revision
    transaction.update(kind, [*actions, *base.touched(model)], same, lambda: changed(kind))


def reopen(kind: Type) -> None:
    """Open a closed type; nothing happens when it has changed since it was read."""
    with contextlib.suppress(errors.TypeChanged), base.Transaction() as transaction:
        add_change_to(transaction, kind, [type(kind).closed.remove()])


@contextlib.contextmanager
def closed(kind: Type) -> Iterator[Type]:
    """Close a type to new users; yield it as it is then. It is opened again when the block raises.

    The block looks for users, and writes under the condition of the revision that it is given, with ``closed``
    removed. Raises TypeChanged.
    """
    with base.Transaction() as transaction:
        add_change_to(transaction, kind, [type(kind).closed.set(True)])
    kind.closed, kind.revision = True, int(kind.revision) + 1
    try:
        yield kind
    except BaseException:
        reopen(kind)
        raise


def again(serve: Callable[[], T], forget: Callable[[], None] = lambda: None) -> T:
    """Return what ``serve`` returns; call it again, after ``forget``, while a type changes under it.

    Raises TypeChanged when that happens ATTEMPTS times.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return serve()
        except errors.TypeChanged:
            forget()
    return serve()
