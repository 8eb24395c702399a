"""The states of create_group and delete_group: an empty group gets a backend, or goes.

Payload of every task: action, resource, project_id, id, request_id. Groups with volumes end with their volumes
(operations/groups.py).
"""

from __future__ import annotations

from chalicelib import errors
from chalicelib.models import Group, base
from chalicelib.operations import group_placement, groups
from chalicelib.rules import states
from chalicelib.rules.messages import Action
from chalicelib.tasks.ownership import Payload, failure, ours, owned


def create_group(payload: Payload) -> None:
    """Make the group available on the backend that was chosen for it; choose again where none was."""
    group = owned(Group, payload)
    host, reason = group.host, ''
    if host is None:
        host, reason = group_placement.choose_backend(group, fresh=True)
    if host is None:
        raise errors.NoValidBackend(reason=reason)
    actions = [Group.host.set(host), *base.end_actions(group, states.GROUP['create'].done)]
    base.update(group, actions, ours(group))


def fail_create_group(payload: Payload) -> None:
    """Say why there is no group; its removal gives the quota back."""
    _fail(payload, Action.GROUP_CREATE)


def delete_group(payload: Payload) -> None:
    """Forget an empty group, and give its quota back."""
    group = owned(Group, payload)
    groups.remove(group, ours(group))


def fail_delete_group(payload: Payload) -> None:
    """Say why the group is still there."""
    _fail(payload, Action.GROUP_DELETE)


def _fail(payload: Payload, action: Action) -> None:
    group = owned(Group, payload)
    error, reason = failure(payload)
    groups.fail(group, action, reason, ours(group), error)
