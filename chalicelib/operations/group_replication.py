"""Replication of groups (3.38). No backend of this service replicates groups.

As in Cinder the service checks and accepts the request, and ``replication_status`` shows the backend's result. Here a
user message gives the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Group, GroupType, base
from chalicelib.operations import groups, messages
from chalicelib.rules import group_specs
from chalicelib.rules.messages import Action, Detail
from chalicelib.rules.states import AVAILABLE, DISABLED, ENABLED, ERROR, FAILED_OVER, FAILOVER_ERROR


class Change(NamedTuple):
    """The statuses that a group must have, and the replication_status that records the failure."""

    statuses: frozenset[str]
    replication_statuses: frozenset[str]
    failed: str


CHANGES: Mapping[str, Change] = {
    'enable': Change(frozenset({AVAILABLE}), frozenset({DISABLED, ENABLED, ERROR}), ERROR),
    'disable': Change(frozenset({AVAILABLE, ERROR}), frozenset({ENABLED, ERROR}), ERROR),
    'failover': Change(frozenset({AVAILABLE}), frozenset({ENABLED, FAILED_OVER}), FAILOVER_ERROR),
}


def change(context: Context, id: str, verb: str) -> None:
    """Accept ``enable``, ``disable`` or ``failover``. Raises InvalidGroupType, InvalidGroup."""
    group, row = _replicated(context, id), CHANGES[verb]
    found = {'status': group.status, 'replication_status': group.replication_status or DISABLED}
    for name, wanted in (('status', row.statuses), ('replication_status', row.replication_statuses)):
        if found[name] not in wanted:
            raise errors.InvalidGroup(
                reason=f'The {name} of group {id} must be {" or ".join(sorted(wanted))} to {verb} replication, '
                f'but is {found[name]}.'
            )
    cause = f'The storage backend does not replicate groups: replication cannot {verb}.'
    messages.create(group, context.request_id, Action.GROUP_REPLICATE, Detail.UNKNOWN_ERROR, cause=cause)
    base.update(group, [Group.replication_status.set(row.failed), *base.touched(Group)])


def targets(context: Context, id: str) -> list[dict[str, Any]]:
    """Return where a replicated group could fail over to: nowhere. Raises InvalidGroupType."""
    _replicated(context, id)
    return []


def _replicated(context: Context, id: str) -> Group:
    group = groups.get(context, id)
    kind = GroupType.find_or_none(base.GLOBAL, group.group_type_id)
    if kind is None or not group_specs.is_replicated(kind.group_specs):
        raise errors.InvalidGroupType(reason=f'Group {id} is not a replication group type.')
    return group
