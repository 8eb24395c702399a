"""Groups and group snapshots. Consistency groups of before generic groups are listed: Cinder itself converts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chalicelib.rules import states
from cinderless.migration import items
from cinderless.migration.catalog import Catalog, times
from cinderless.migration.hosts import HostMap
from cinderless.migration.items import Item, Mapped
from cinderless.migration.source import Row, Source

#: Statuses of groups and group snapshots that nothing is working on.
SETTLED = frozenset({states.AVAILABLE, states.ERROR})

_WAIT = 'wait until Cinder has finished, or reset its status there, and run again'


def groups(source: Source, catalog: Catalog, hosts: HostMap) -> Iterator[Mapped]:
    """Yield what each group becomes."""
    for rows in source.pages('groups'):
        types = items.by(
            source.having('group_volume_type_mapping', 'group_id', [row['id'] for row in rows]), 'group_id'
        )
        for row in rows:
            refusal = _refusal(row, catalog, hosts)
            if refusal:
                yield Mapped([], [items.left_out('groups', row['id'], *refusal)])
                continue
            named = sorted(str(one['volume_type_id']) for one in types.get(row['id'], []))
            yield Mapped([_group(row, catalog, hosts, named)], [])


def _refusal(row: Row, catalog: Catalog, hosts: HostMap) -> tuple[str, str] | None:
    problems = (
        (row['status'] not in SETTLED, f'its status is {row["status"]}', _WAIT),
        (not row['project_id'], 'it has no project', 'set its project'),
        (
            row['group_type_id'] not in catalog.group_types,
            f'its group type {row["group_type_id"]} does not exist',
            'restore the group type in Cinder',
        ),
        (
            row['host'] and hosts.of(str(row['host'])).pool is None,
            f'its backend {row["host"]} is not one of this deployment',
            'its volumes are brought without a group: create a group for them when their data is here',
        ),
    )
    return next(((problem, advice) for wrong, problem, advice in problems if wrong), None)


def _group(row: Row, catalog: Catalog, hosts: HostMap, types: list[str]) -> Item:
    pool = hosts.of(str(row['host'])).pool
    values = items.set_values(
        **times(row),
        **{name: row[name] for name in ('user_id', 'name', 'description', 'status', 'availability_zone')},
        group_type_id=catalog.group_types[str(row['group_type_id'])],
        volume_type_ids=[id for id in types if id in catalog.types],
        host=pool.partition('#')[0] if pool else None,
        group_snapshot_id=row['group_snapshot_id'],
        source_group_id=row['source_group_id'],
        replication_status=states.DISABLED,
    )
    return Item('Group', str(row['project_id']), str(row['id']), values)


def group_snapshots(source: Source, catalog: Catalog, brought: Mapping[str, str]) -> Iterator[Mapped]:
    """Yield what each group snapshot becomes. ``brought``: the project of each group that is brought, by its id."""
    for row in source.every('group_snapshots'):
        id = str(row['id'])
        if row['group_id'] not in brought:
            yield Mapped([], [items.left_out('group_snapshots', id, 'its group is not brought', 'see that finding')])
        elif row['status'] not in SETTLED:
            yield Mapped([], [items.left_out('group_snapshots', id, f'its status is {row["status"]}', _WAIT)])
        else:
            values = items.set_values(
                **times(row),
                **{name: row[name] for name in ('user_id', 'name', 'description', 'status', 'group_id')},
                group_type_id=catalog.group_types.get(str(row['group_type_id']), str(row['group_type_id'])),
            )
            yield Mapped([Item('GroupSnapshot', brought[str(row['group_id'])], id, values)], [])


def legacy(source: Source) -> Iterator[Mapped]:
    """Yield a finding for each consistency group and cgsnapshot that Cinder has not converted."""
    for table in ('consistencygroups', 'cgsnapshots'):
        for row in source.every(table):
            advice = 'run cinder-manage db online_data_migrations, which makes it a group, and run again'
            yield Mapped([], [items.left_out(table, row['id'], 'it is of before generic groups', advice)])
