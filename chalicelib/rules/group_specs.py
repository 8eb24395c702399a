"""Group specs that the API itself obeys; the scheduler matches the rest with what pools report."""

from __future__ import annotations

from collections.abc import Mapping

#: The exact text that means yes.
TRUE = '<is> True'

#: The group's snapshots are point-in-time consistent.
CONSISTENT = 'consistent_group_snapshot_enabled'

#: The group is replicated, either way.
REPLICATED = ('group_replication_enabled', 'consistent_group_replication_enabled')

#: The type of groups that are made through the legacy API, and of no others.
CONSISTENCY_GROUPS = 'default_cgsnapshot_type'


def is_consistent(group_specs: Mapping[str, str]) -> bool:
    return group_specs.get(CONSISTENT) == TRUE


def is_replicated(group_specs: Mapping[str, str]) -> bool:
    return any(group_specs.get(name) == TRUE for name in REPLICATED)
