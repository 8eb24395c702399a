"""Does this execution's request still own the record? Every task asks, and every write asks again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.models import Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.rules import states, workflows
from chalicelib.tasks import backends

Payload = Mapping[str, Any]

R = TypeVar('R', Volume, Snapshot, Group, GroupSnapshot)


def owned(kind: type[R], payload: Payload) -> R:
    """Return the record that the payload names, read consistently, while its request holds the status.

    Raises StateChanged for work that is done, was taken over, or whose record is gone: a machine catches it, and ends.
    """
    try:
        record = kind.find(payload['project_id'], payload['id'])
    except errors.NotFound:
        raise gone(kind, payload['id']) from None
    if record.owner != payload['request_id'] or record.status != row_of(record).running:
        raise base.state_changed(record)
    if (record.operation or {})['action'] != payload['action']:  # the request went on to its next machine
        raise base.state_changed(record)
    return record


def gone(kind: type[base.Record], id: str) -> errors.StateChanged:
    """The error of a record that is not there any more."""
    return errors.StateChanged(resource=kind.resource, id=id, status=states.DELETED, expected='the status required')


def row_of(record: base.StatefulRecord) -> workflows.Workflow:
    """Return the row of what is under way for the record; raises StateChanged when nothing is."""
    row = workflows.WORKFLOWS[record.resource].get(str((record.operation or {}).get('action')))
    if row is None:
        raise base.state_changed(record)
    return row


def ours(record: base.StatefulRecord) -> Condition:
    """The condition that the request which owns the record now still does when it is written."""
    return base.owned_by(type(record), row_of(record), str(record.owner))


def failure(payload: Payload) -> tuple[str, str]:
    """Return (name, message) of the error that brought a machine to the state: ('', '') when none did."""
    error = payload.get('error') or {}
    return str(error.get('Error', '')), backends.cause_message(str(error.get('Cause', '')))
