"""The states of create_group and delete_group: an empty group gets a backend, or is removed.

Payload of every task: action, resource, project_id, id, request_id. Groups with volumes end with their volumes
(operations/groups.py).
"""

from __future__ import annotations

import functools

from chalicelib import errors
from chalicelib.models import Group
from chalicelib.operations import group_placement, group_types, groups, pools, volume_types
from chalicelib.rules.messages import Action, Detail
from chalicelib.scheduler.hosts import extract_host
from chalicelib.tasks import placement, postponing
from chalicelib.tasks.work import GroupWork, Payload


def create_group(payload: Payload) -> None:
    """Make the group available on the backend that was chosen for it; choose again where none was."""
    work = GroupWork.take(payload)
    work.end(work.workflow.done, [Group.host.set(work.record.host or _chosen(work.record))])


def _chosen(group: Group) -> str:
    """Choose again. Raises BackendUnavailable when a backend that is down would do, or NoValidBackend."""
    group_type, types = group_types.read(group.group_type_id), [volume_types.read(id) for id in group.volume_type_ids]
    decide = functools.partial(group_placement.decide, group, group_type, types)
    decision = decide(pools.states(fresh=True))
    if decision.winner:
        return str(extract_host(decision.winner))
    placement.await_backend(decide)
    raise errors.NoValidBackend(reason=decision.summary())


def fail_create_group(payload: Payload) -> None:
    """Set the group to ``error`` with a user message; its removal releases the quota."""
    GroupWork.take(payload).fail(Action.GROUP_CREATE, Detail.UNKNOWN_ERROR)


def delete_group(payload: Payload) -> None:
    """Delete the record of an empty group, and release its quota."""
    work = GroupWork.take(payload)
    groups.remove(work.record, work.is_ours)


def fail_delete_group(payload: Payload) -> None:
    """Set the group to ``error`` with a user message; a service that does not answer only postpones its removal."""
    postponing.postpone_or_fail(GroupWork.take(payload), Action.GROUP_DELETE, Detail.UNKNOWN_ERROR)
