"""Writes of records: each takes effect once, even if requests arrive several times and answers are lost.

The SDK retries a call without an answer. If the first call took effect, the retry fails its own condition, or adds to a
counter a second time. So every single write of a record carries a token of its own:

* the record keeps the tokens of its last three such writes (``w0`` is the newest; three, since other writers may come
  between a write and its retry);
* the condition excludes a record that already has the token, so nothing is added twice;
* after a failed condition the writer reads the record: if its own token is there, the write is done.

A transaction carries a ClientRequestToken, under which DynamoDB applies it once within 10 minutes.
"""

from __future__ import annotations

import functools
import secrets
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

from pynamodb.exceptions import PutError, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from chalicelib import errors, telemetry
from chalicelib.models import bounded, claims, operation_log, reading
from chalicelib.models.connection import COLLISIONS, code_of, connection, is_too_large, wait_after

if TYPE_CHECKING:
    from chalicelib.models.base import Record

#: Returns, or raises, the error of an operation whose condition fails.
Otherwise = Callable[[], Exception]


class _Token:
    """The token of one write. 72 random bits in 12 characters: a record grows by about 40 bytes."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(9)

    def actions(self, kind: type[Record]) -> list[Action]:
        """Put this token first and shift the two before it; an update reads the item's previous values."""
        first, second = kind.write_token, kind.write_token_1
        return [
            first.set(self.text),
            second.set(first | self.text),
            kind.write_token_2.set(second | self.text),
        ]

    def is_absent(self, kind: type[Record]) -> Condition:
        tokens = (kind.write_token, kind.write_token_1, kind.write_token_2)
        first, *others = (~(attribute == self.text) for attribute in tokens)
        for other in others:
            first &= other
        return first

    def is_on(self, record: Record) -> bool:
        return self.text in (record.write_token, record.write_token_1, record.write_token_2)


def write(record: Record, actions: list[Action], condition: Condition | None = None) -> None:
    """Create or change one record, and refresh ``record`` from what is stored.

    Raises StateChanged when the condition does not hold, NotFound when the record was also deleted,
    AttributeTooLarge, RecordTooLarge, and OutcomeUnknown when even a read does not show whether the write was done.
    """
    kind, token = type(record), _Token()
    if _is_accompanied('update', record, actions):
        return _decide(record, lambda transaction: transaction.update(record, actions, condition, _moved(record)))
    bounded.fit_actions(record, actions)
    reading.drop(record)
    new = token.is_absent(kind)
    try:
        record.update(actions=[*actions, *token.actions(kind)], condition=new if condition is None else condition & new)
    except (UpdateError, errors.OutcomeUnknown) as error:
        _settle(record, token, error)


def put(record: Record, condition: Condition | None = None) -> None:
    """Store a whole record. Raises as ``write`` does."""
    token = _Token()
    if _is_accompanied('save', record):
        return _decide(record, lambda transaction: transaction.put(record, condition, _moved(record)))
    record.write_token = token.text
    bounded.fit_record(record)
    reading.drop(record)
    try:
        record.save(condition)
    except (PutError, errors.OutcomeUnknown) as error:
        _settle(record, token, error)


def remove(record: Record) -> None:
    """Delete a record in any state; a missing one is success."""
    reading.drop(record)
    record.delete()


def _is_accompanied(verb: str, record: Record, actions: Iterable[Action] = ()) -> bool:
    """Whether the request's key (models/claims.py) or the log of operations is written with this write."""
    claim = claims.current()
    is_decision = claim is not None and claim.decides(verb, record, actions)
    return is_decision or operation_log.step_of((verb, record, actions)) is not None


def _decide(record: Record, add: Callable[[Transaction], None]) -> None:
    """Make the one write of a record a transaction, with what accompanies it."""
    with Transaction() as transaction:
        add(transaction)
    record.attribute_values = record.reload().attribute_values


def _moved(record: Record) -> Callable[[], Exception]:
    return lambda: state_changed(record.reload())


def _settle(record: Record, token: _Token, error: Exception) -> None:
    """Return if the write took effect in spite of the error; else raise its meaning.

    A missing record proves nothing after a write without an answer, which may still arrive and create the record. For
    the client, NotFound would be the wrong answer.
    """
    try:
        found = record.reload()
    except errors.NotFound as gone:
        raise (error if isinstance(error, errors.OutcomeUnknown) else gone) from None
    if token.is_on(found):
        telemetry.count('Retries', why='answer lost')
        record.attribute_values = found.attribute_values
    elif isinstance(error, errors.OutcomeUnknown):
        raise error  # it may still arrive
    else:
        raise state_changed(found) from None


def state_changed(record: Record) -> errors.StateChanged:
    """The error of a failed condition, with the record's current status."""
    return errors.StateChanged(
        resource=record.resource, id=record.id, status=getattr(record, 'status', None), expected='the status required'
    )


class Transaction:
    """Writes that take effect together or not at all.

    Each operation has the error to raise when its condition fails: by default StateChanged. At most 100 operations, one
    per item. As a context manager, it commits at the end of the block.
    """

    def __init__(self) -> None:
        self._operations: list[tuple[str, tuple[Any, ...]]] = []
        self._otherwise: list[Otherwise] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Commit, unless the block has raised an error."""
        if kind is None:
            self.commit()

    def put(self, record: Record, condition: Condition | None, otherwise: Otherwise | None = None) -> None:
        bounded.fit_record(record)
        reading.drop(record)
        self._add('save', record, (record, condition), otherwise)

    def update(
        self, record: Record, actions: list[Action], condition: Condition | None, otherwise: Otherwise | None = None
    ) -> None:
        bounded.fit_actions(record, actions)
        reading.drop(record)
        self._add('update', record, (record, actions, condition), otherwise)

    def delete(self, record: Record, condition: Condition, otherwise: Otherwise | None = None) -> None:
        reading.drop(record)
        self._add('delete', record, (record, condition), otherwise)

    def check(self, record: Record, condition: Condition, otherwise: Otherwise | None = None) -> None:
        arguments = type(record), record.project_id, record.id, condition
        self._add('condition_check', record, arguments, otherwise)

    def _add(self, verb: str, record: Record, arguments: tuple[Any, ...], otherwise: Otherwise | None) -> None:
        self._operations.append((verb, arguments))
        self._otherwise.append(otherwise or functools.partial(state_changed, record))

    def commit(self) -> None:
        """Apply all, with the mark of the request's key where this decides (models/claims.py), and with its log.

        Raises the error of the first failed condition's operation, RecordTooLarge, ServiceUnavailable, or
        OutcomeUnknown.
        """
        for entry, actions in operation_log.entries(self._named()):
            if len(self._operations) < operation_log.FULL:
                self._add('update', entry, (entry, actions, None), None)
        claim = claims.current()
        if claim is not None and any(claim.decides(*operation) for operation in self._named()):
            begun = claim.add_mark_to(self, [record for verb, record, _ in self._named() if verb == 'save'])
            self._commit()
            claim.begun = begun
        else:
            self._commit()

    def _named(self) -> Iterator[tuple[str, Any, Iterable[Action]]]:
        """Verb, record and actions of each write."""
        for verb, arguments in self._operations:
            if verb != 'condition_check':
                yield verb, arguments[0], arguments[1] if verb == 'update' else ()

    def _commit(self) -> None:
        token = _request_token()
        for attempt in range(COLLISIONS):
            try:
                return self._write(token)
            except TransactWriteError as error:
                if code_of(error.cause) != 'TransactionInProgressException':
                    self._raise_unless_collided(error)
                    token = _request_token()  # nothing was done: the next attempt is another transaction
                wait_after(attempt)
        raise errors.ServiceUnavailable(reason='too many requests change the same records at once; try again')

    def _write(self, token: str) -> None:
        with TransactWrite(connection=connection(), client_request_token=token) as transaction:
            for verb, arguments in self._operations:
                if verb == 'condition_check':
                    kind, project_id, id, condition = arguments
                    transaction.condition_check(kind, project_id, id, condition=condition)
                else:
                    getattr(transaction, verb)(*arguments)

    def _raise_unless_collided(self, error: TransactWriteError) -> None:
        """Raise the meaning of a cancelled transaction; return when it collided with another one, or was throttled."""
        # Order of PynamoDB's request, hence of the cancellation reasons: checks, deletes, puts, updates.
        order = {'condition_check': 0, 'delete': 1, 'save': 2, 'update': 3}
        ranked = sorted(range(len(self._operations)), key=lambda index: order[self._operations[index][0]])
        reasons = [(reason.code, str(reason.message)) if reason else ('', '') for reason in error.cancellation_reasons]
        for position, (code, _) in enumerate(reasons):
            if code == 'ConditionalCheckFailed':
                raise self._otherwise[ranked[position]]() from None
        if any(code == 'ValidationError' and is_too_large(message) for code, message in reasons):
            raise errors.RecordTooLarge from error
        codes = {code for code, _ in reasons if code}
        if not codes & _COLLISION:
            raise errors.AwsRefused(operation='dynamodb:TransactWriteItems', code=sorted(codes)) from error


#: Temporary reasons of a cancellation: another transaction uses an item, or the table throttles.
_COLLISION = {'TransactionConflict', 'ThrottlingError', 'ProvisionedThroughputExceeded'}


def _request_token() -> str:
    return str(uuid.uuid4())
