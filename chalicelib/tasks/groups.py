"""The states of create_group and delete_group: an empty group gets a backend, or goes.

Payload of every task: action, resource, project_id, id, request_id. Groups with volumes end with their volumes
(operations/groups.py).
"""

from __future__ import annotations

import functools

from chalicelib import errors
from chalicelib.models import Group, base
from chalicelib.operations import group_placement, group_types, groups, pools, volume_types
from chalicelib.rules import workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.scheduler.hosts import extract_host
from chalicelib.tasks import postponing
from chalicelib.tasks.awaiting import await_backend
from chalicelib.tasks.ownership import Payload, failure, ours, owned


def create_group(payload: Payload) -> None:
    """Make the group available on the backend that was chosen for it; choose again where none was."""
    group = owned(Group, payload)
    host = group.host or _chosen(group)
    actions = [Group.host.set(host), *base.end_actions(group, workflows.GROUP['create'].done)]
    base.update(group, actions, ours(group))


def _chosen(group: Group) -> str:
    """Choose again. Raises BackendUnavailable when a backend that is down would do, or NoValidBackend."""
    group_type, types = group_types.read(group.group_type_id), [volume_types.read(id) for id in group.volume_type_ids]
    decide = functools.partial(group_placement.decide, group, group_type, types)
    decision = decide(pools.states(fresh=True))
    if decision.winner:
        return str(extract_host(decision.winner))
    await_backend(decide)
    raise errors.NoValidBackend(reason=decision.summary())


def fail_create_group(payload: Payload) -> None:
    """Say why there is no group; its removal gives the quota back."""
    _fail(payload, Action.GROUP_CREATE)


def delete_group(payload: Payload) -> None:
    """Forget an empty group, and give its quota back."""
    group = owned(Group, payload)
    groups.remove(group, ours(group))


def fail_delete_group(payload: Payload) -> None:
    """Say why the group is still there; a service that does not answer only postpones its removal."""
    group = owned(Group, payload)
    if not postponing.postpone(group, payload, ours(group), Action.GROUP_DELETE, Detail.UNKNOWN_ERROR):
        _fail(payload, Action.GROUP_DELETE)


def _fail(payload: Payload, action: Action) -> None:
    group = owned(Group, payload)
    error, reason = failure(payload)
    groups.fail(group, action, reason, ours(group), error)
