"""The claim of a request on its Idempotency-Key, as the writes of models/writes.py see it.

One write of a request decides: the work is accepted with it, and was not accepted before it. While a claim is in force,
that write becomes a transaction which also marks the key's record, under the condition that the key is still held by
this request. So a process that dies leaves a key whose mark shows whether the work was accepted, and which records it
made; and a process that is slower than its claim can decide nothing after another request has taken the key over.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from pynamodb.expressions.operand import Path
from pynamodb.expressions.update import Action, SetAction

from chalicelib import errors
from chalicelib.context_values import bound

if TYPE_CHECKING:
    from chalicelib.models.base import Record
    from chalicelib.models.idempotency_key import IdempotencyKey
    from chalicelib.models.writes import Transaction

R = TypeVar('R', bound='Record')
P = ParamSpec('P')

#: Attributes whose change accepts the work of an action: an operation may hold the status, and returns to the previous.
STATUSES = frozenset({'status', 'previous_status'})

#: Records that are written beside the one that a request makes.
_BESIDE = frozenset({'Name', 'Quota', 'Secret'})


class Decision(NamedTuple):
    """Which write of a request decides."""

    #: The class of the record that the request makes; '' for none: then ``sets`` decides.
    makes: str = ''
    #: Attributes of an existing record that are set by the deciding write.
    sets: frozenset[str] = STATUSES

    def is_made_by(self, verb: str, record: Any, actions: Iterable[Any]) -> bool:
        if self.makes:
            return verb == 'save' and type(record).__name__ == self.makes
        if verb == 'update':
            return any(_is_set(action, self.sets) for action in actions)
        return verb == 'delete' and 'status' in type(record).get_attributes()


def _is_set(action: Any, names: frozenset[str]) -> bool:
    if not isinstance(action, SetAction):
        return False
    path = action.values[0]
    return isinstance(path, Path) and str(path.path[0]) in names


@dataclasses.dataclass
class Claim:
    """A key that this request holds. ``begun``: what the accepted work made, by class; None before the decision."""

    record: IdempotencyKey
    decision: Decision
    begun: dict[str, list[str]] | None = None
    #: What the operation wants to find again under the key; sealed where it is secret.
    kept: str | None = None

    def decides(self, verb: str, record: Any, actions: Iterable[Any] = ()) -> bool:
        return self.begun is None and self.decision.is_made_by(verb, record, actions)

    def add_mark_to(self, transaction: Transaction, made: Iterable[Record]) -> dict[str, list[str]]:
        """Add the mark to the deciding transaction; return what ``begun`` is once it has been applied."""
        kind = type(self.record)
        begun: dict[str, list[str]] = {}
        for record in made:
            if type(record).__name__ not in _BESIDE:
                begun.setdefault(type(record).__name__, [record.project_id, record.id])
        actions: list[Action] = [kind.begun.set(begun)]
        if self.kept is not None:
            actions.append(kind.kept.set(self.kept))
        held = (kind.holder == self.record.holder) & kind.begun.does_not_exist()
        transaction.update(self.record, actions, held, lambda: errors.IdempotencyKeyInUse(seconds=1))
        return begun


_current: contextvars.ContextVar[Claim | None] = contextvars.ContextVar('claim', default=None)


def current() -> Claim | None:
    """Return the claim of the request that is being served; None without a key."""
    return _current.get()


def in_force(claim: Claim | None) -> AbstractContextManager[None]:
    """Serve a request under its claim; None lets writes inside decide nothing."""
    return bound(_current, claim)


def is_begun() -> bool:
    """Whether an earlier request with the same key had its work accepted, and ended without an answer."""
    claim = _current.get()
    return claim is not None and claim.begun is not None


def made(kind: type[R]) -> R | None:
    """Return the record that an earlier request with the same key made; None when the work is to be done now.

    Raises the resource's NotFound for a record that is gone: it was made, and removed since.
    """
    claim = _current.get()
    found = claim.begun.get(kind.__name__) if claim is not None and claim.begun is not None else None
    return kind.find(*found) if found else None


def made_once(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Have an operation return the record of class ``name`` that an earlier request with the same key made by it."""

    def decorate(operation: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(operation)
        def once(*args: P.args, **kwargs: P.kwargs) -> R:
            if not is_begun():
                return operation(*args, **kwargs)
            from chalicelib import models

            found: R | None = made(getattr(models, name))
            return operation(*args, **kwargs) if found is None else found

        return once

    return decorate


def keep(text: str) -> None:
    """Have the deciding write store a text that ``kept`` returns to a later request with the same key."""
    claim = _current.get()
    if claim is not None and claim.begun is None:
        claim.kept = text
