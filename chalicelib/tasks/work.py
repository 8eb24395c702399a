"""Work in progress: the record that an execution works for, while its request owns the record's running status.

A task takes its work, does one step of it, and ends it with an outcome. Each write carries the condition that the
request still owns the record, so a task that runs late, or a second time, changes nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.models import Backup, Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.operations import backup_reservations, messages, outcomes, reservations
from chalicelib.rules import messages as codes
from chalicelib.rules import states, workflows
from chalicelib.rules.sentences import for_users, message_of
from chalicelib.rules.workflows import Workflow

logger = logging.getLogger(__name__)

#: What an execution hands to a task: project_id, id and request_id, most often action and resource, results of tasks.
Payload = Mapping[str, Any]

R = TypeVar('R', bound=base.StatefulRecord)

#: Errors by which a driver refuses before it changes anything.
REFUSALS = (errors.BackendFull, errors.NotSupported, errors.VolumeIsBusy, errors.SnapshotIsBusy)

#: Member of a volume's ``operation``: the data is about to be changed, or has been.
_WRITING = 'writing'


class Work(Generic[R]):
    """A record, the workflow that its status belongs to, and the input of the execution that works for it."""

    kind: type[R]

    def __init__(self, record: R, workflow: Workflow, payload: Payload) -> None:
        self.record, self.workflow, self.payload = record, workflow, payload

    @classmethod
    def take(cls, payload: Payload) -> Self:
        """Return the work that the payload names, its record read consistently.

        Raises StateChanged for work that is done, was taken over, or whose record is gone: a state machine catches it,
        and ends.
        """
        try:
            record = cls.kind.find(payload['project_id'], payload['id'])
        except errors.NotFound:
            raise removed(cls.kind, payload['id']) from None
        workflow = workflow_of(record)
        owned = record.owner == payload['request_id'] and record.status == workflow.running
        if not owned or workflow.action != payload['action']:  # the request may have gone on to its next workflow
            raise base.state_changed(record)
        return cls(record, workflow, payload)

    @property
    def request_id(self) -> str:
        return str(self.payload['request_id'])

    @property
    def export_id(self) -> str:
        """The name of the exports that this work opens: a late task of other work must not close them."""
        return str(uuid.uuid5(uuid.UUID(self.payload['id']), self.request_id))

    @property
    def is_ours(self) -> Condition:
        """The condition that the request still owns the record when it is written."""
        return base.owned_by(type(self.record), self.workflow, self.request_id)

    def update(self, actions: Iterable[Action]) -> None:
        """Change the record while the request owns it. Raises StateChanged, or NotFound when it is gone."""
        base.update(self.record, [*actions, *base.touched(type(self.record))], self.is_ours)

    def end(self, outcome: str, actions: Iterable[Action] = (), condition: Condition | None = None) -> None:
        """End the work, which has reserved nothing, with a final status. Raises StateChanged, or NotFound."""
        held = self.is_ours if condition is None else self.is_ours & condition
        base.update(self.record, [*base.end_actions(self.record, outcome), *actions], held)

    def fail(self, action: codes.Action, detail: codes.Detail) -> None:
        """Report why the work failed, and end it with its workflow's status for that."""
        self.report(action, detail)
        self.end(self.workflow.failed)

    def report(self, action: codes.Action, detail: codes.Detail) -> None:
        """Leave a user message of the error that brought the execution to this task."""
        error, cause = failure(self.payload)
        messages.create(self.record, self.request_id, action, detail, cause=cause, error=error)


class VolumeWork(Work[Volume]):
    kind = Volume

    @classmethod
    def beside(cls, volume: Volume, workflow: Workflow, payload: Payload) -> Self:
        """Return the work on a volume that the payload's backup is written to. Raises BackupCanceled."""
        if volume.status != workflow.running or volume.owner != payload['request_id']:
            raise errors.BackupCanceled(id=payload['id'])
        return cls(volume, workflow, payload)

    def end(
        self, outcome: str | outcomes.Outcome, actions: Iterable[Action] = (), condition: Condition | None = None
    ) -> None:
        """End the work and release what it has reserved; a status alone keeps the claim. Raises SnapshotChanged."""
        held = self.is_ours if condition is None else self.is_ours & condition
        final = outcomes.Outcome.ended(outcome) if isinstance(outcome, str) else outcome
        reservations.end(self.record, held, final, actions=actions)

    def mark_writing(self) -> None:
        """Record that the volume's data is about to be changed: work that never wrote leaves the volume as it was.

        Raises StateChanged.
        """
        if not self.has_written:
            marked = {**self.record.operation_facts(), _WRITING: True}
            self.update([Volume.operation.set(marked)])
            self.record.operation = marked

    @property
    def has_written(self) -> bool:
        """Whether the volume's data may have been changed: ``mark_writing`` was called for the work under way."""
        return bool(self.record.operation_facts().get(_WRITING))


class SnapshotWork(Work[Snapshot]):
    kind = Snapshot


class GroupWork(Work[Group]):
    kind = Group


class GroupSnapshotWork(Work[GroupSnapshot]):
    kind = GroupSnapshot


class BackupWork(Work[Backup]):
    kind = Backup

    @classmethod
    def take(cls, payload: Payload, action: str = 'create') -> Self:
        """Return the work for the backup; a range of an inline Map names no action. Raises BackupCanceled."""
        try:
            backup = Backup.find(payload['project_id'], payload['id'])
        except errors.BackupNotFound:
            raise errors.BackupCanceled(id=payload['id']) from None
        return cls.of(backup, workflows.BACKUP[action], payload)

    @classmethod
    def of(cls, backup: Backup, workflow: Workflow, payload: Payload) -> Self:
        if backup.status != workflow.running or backup.owner != payload['request_id']:
            raise errors.BackupCanceled(id=backup.id)
        return cls(backup, workflow, payload)

    def end(
        self,
        outcome: str | backup_reservations.Outcome,
        actions: Iterable[Action] = (),
        condition: Condition | None = None,
    ) -> None:
        """End the work, and release what it has reserved. Raises BackupCanceled."""
        final = backup_reservations.Outcome(outcome) if isinstance(outcome, str) else outcome
        backup_reservations.end(self.record, self.workflow, final, actions=actions)

    def fail(self, action: codes.Action, detail: codes.Detail) -> None:
        """Record why there is no backup: a user message, ``fail_reason`` and the workflow's failed status."""
        self.report(action, detail)
        self.end(self.workflow.failed, [Backup.fail_reason.set(fail_reason(self.payload))])


def workflow_of(record: base.StatefulRecord) -> Workflow:
    """Return the workflow that is under way for the record; raises StateChanged when none is."""
    workflow = workflows.WORKFLOWS[record.resource].get(str((record.operation or {}).get('action')))
    if workflow is None:
        raise base.state_changed(record)
    return workflow


def removed(kind: type[base.Record], id: str) -> errors.StateChanged:
    """Return the error of work whose record is gone."""
    return errors.StateChanged(resource=kind.resource, id=id, status=states.DELETED, expected='the status required')


def failure(payload: Payload) -> tuple[str, str]:
    """Return (name, message) of the error that brought an execution to the task: ('', '') when none did."""
    error = payload.get('error') or {}
    return str(error.get('Error', '')), message_of(str(error.get('Cause', '')))


def fail_reason(payload: Payload) -> str:
    """Return what users read of the error that a state machine caught (Cinder's 255 characters)."""
    error, cause = failure(payload)
    shown = for_users(error, cause)
    if shown != cause:
        logger.warning('backup %s failed with %s: %s', payload['id'], error, cause if hasattr(errors, error) else '')
    return shown[:255]


def is_refusal(error: str) -> bool:
    """Return whether the error of this name means that the backend has changed nothing."""
    kind = getattr(errors, error, None)
    return isinstance(kind, type) and issubclass(kind, REFUSALS)
