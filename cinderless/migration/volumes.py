"""A volume with everything that belongs to it: metadata, snapshots, attachments and transfer, as one unit.

A row with work under way is left out: no workflow here would end its status.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib.rules import states
from cinderless.migration import items
from cinderless.migration.catalog import times
from cinderless.migration.hosts import HostMap, Place
from cinderless.migration.items import Finding, Item, Mapped
from cinderless.migration.source import Row, Source, document, timestamp

#: Statuses of volumes and snapshots that nothing is working on.
SETTLED = frozenset({
    states.AVAILABLE, states.IN_USE, states.RESERVED, states.AWAITING_TRANSFER, states.ERROR, states.ERROR_DELETING,
    states.ERROR_EXTENDING, states.ERROR_RESTORING, states.ERROR_MANAGING,
})  # fmt: skip
SETTLED_SNAPSHOTS = frozenset({states.AVAILABLE, states.ERROR, states.ERROR_DELETING})

#: Statuses that follow from a volume's attachments (rules/states.py).
ATTACHED = frozenset({states.AVAILABLE, states.IN_USE, states.RESERVED})

#: Attachment statuses in which a host may use the volume, and those that are settled.
CONNECTED = frozenset({states.ATTACHED, states.ATTACHING, states.DETACHING})
SETTLED_ATTACHMENTS = frozenset({states.ATTACHED, states.RESERVED, states.ERROR_ATTACHING, states.ERROR_DETACHING})

#: Key of Cinder's fixed_key (conf_key_mgr): not a secret of Barbican.
FIXED_KEY = '00000000-0000-0000-0000-000000000000'

#: Keys of connection_info that are sealed (operations/attachments.py).
SECRETS = ('auth_password', 'discovery_auth_password')

_WAIT = 'wait until Cinder has finished, or reset its status there, and run again'


class Rows(NamedTuple):
    """The rows of other tables that belong to a page of volumes, by the volume's id (metadata of snapshots: theirs)."""

    metadata: Mapping[Any, list[Mapping[str, Any]]]
    admin_metadata: Mapping[Any, list[Mapping[str, Any]]]
    image_metadata: Mapping[Any, list[Mapping[str, Any]]]
    attachments: Mapping[Any, list[Mapping[str, Any]]]
    transfers: Mapping[Any, list[Mapping[str, Any]]]
    snapshots: Mapping[Any, list[Mapping[str, Any]]]
    snapshot_metadata: Mapping[Any, list[Mapping[str, Any]]]

    @classmethod
    def of(cls, source: Source, ids: Iterable[Any]) -> Rows:
        wanted = list(ids)

        def of(table: str) -> Mapping[Any, list[Mapping[str, Any]]]:
            return items.by(source.having(table, 'volume_id', wanted), 'volume_id')

        snapshots = of('snapshots')
        ids_of_snapshots = [row['id'] for rows in snapshots.values() for row in rows]
        return cls(
            of('volume_metadata'),
            of('volume_admin_metadata'),
            of('volume_glance_metadata'),
            of('volume_attachment'),
            of('transfers'),
            snapshots,
            items.by(source.having('snapshot_metadata', 'snapshot_id', ids_of_snapshots), 'snapshot_id'),
        )


class Mapper:
    """Maps volumes. ``types``: ids of the volume types; ``groups`` and ``group_snapshots``: ids of those brought."""

    def __init__(
        self, hosts: HostMap, types: Iterable[str], groups: Iterable[str], group_snapshots: Iterable[str]
    ) -> None:
        self._hosts = hosts
        self._types, self._groups = frozenset(types), frozenset(groups)
        self._group_snapshots = frozenset(group_snapshots)

    def page(self, source: Source, rows: list[Row]) -> Iterator[Mapped]:
        """Yield what each volume of a page becomes."""
        others = Rows.of(source, (row['id'] for row in rows))
        for row in rows:
            yield self._volume(row, others)

    def _volume(self, row: Row, others: Rows) -> Mapped:
        attachments = [
            one
            for one in others.attachments.get(row['id'], [])
            if one['attach_status'] not in (states.DETACHED, states.DELETED)
        ]
        place = self._hosts.of(str(row['host'])) if row['host'] else Place(None)
        refusal = self._refusal(row, attachments, others.transfers.get(row['id'], []), place)
        if refusal:
            return Mapped([], [items.left_out('volumes', row['id'], *refusal)])
        findings = list(self._differences(row))
        if row['host'] and place.pool is None and not states.is_error(row['status']):
            return self._unmanaged(row, others, findings)
        links = [self._attachment(one, row) for one in attachments]
        snapshots = list(self._snapshots(row, others, place, findings))
        transfers = [_transfer(one, row) for one in others.transfers.get(row['id'], []) if not one['accepted']]
        values = self._values(row, others) | _placed(row, place) | _linked(row, links, snapshots, transfers)
        values['group_id'] = row['group_id'] if row['group_id'] in self._groups else None
        volume = Item('Volume', str(row['project_id']), str(row['id']), items.set_values(**values))
        return Mapped([volume, *links, *snapshots, *transfers], findings)

    def _refusal(
        self, row: Row, attachments: list[Mapping[str, Any]], transfers: list[Mapping[str, Any]], place: Place
    ) -> tuple[str, str] | None:
        """Return why a volume is left out, and what to do; None for one that is brought."""
        return (
            _contradiction(row, attachments, transfers, self._types)
            or _under_way(row, attachments)
            or _kept_from_moving(row, attachments, place)
        )

    def _differences(self, row: Row) -> Iterator[Finding]:
        id = row['id']
        if row['consistencygroup_id']:
            advice = 'run cinder-manage db online_data_migrations first to keep it together as a group'
            yield items.adapted('volumes', id, 'it is in a consistency group of before generic groups', advice)
        if row['group_id'] and row['group_id'] not in self._groups:
            advice = 'the volume is brought without a group; see the finding of the group'
            yield items.adapted('volumes', id, 'its group is not brought', advice)
        if row['replication_status'] not in (None, states.DISABLED):
            advice = 'drivers here do not replicate: its status is disabled'
            yield items.adapted('volumes', id, f'replication_status is {row["replication_status"]}', advice)

    def _values(self, row: Row, others: Rows) -> dict[str, Any]:
        """Return the attributes that do not depend on the volume's place."""
        id = row['id']
        kept = ('user_id', 'size', 'status', 'availability_zone', 'volume_type_id', 'snapshot_id', 'source_volid')
        return {
            **times(row),
            **{name: row[name] for name in kept},
            'name': row['display_name'],
            'description': row['display_description'],
            'metadata': items.pairs(others.metadata.get(id, [])),
            'admin_metadata': items.pairs(others.admin_metadata.get(id, [])),
            'volume_image_metadata': items.pairs(others.image_metadata.get(id, [])),
            'bootable': bool(row['bootable']),
            'multiattach': bool(row['multiattach']),
            'encryption_key_id': row['encryption_key_id'],
            'replication_status': states.DISABLED,
            'consumes_quota': row['use_quota'] is None or bool(row['use_quota']),
            **{name: timestamp(row[name]) for name in ('scheduled_at', 'launched_at', 'terminated_at')},
        }

    def _unmanaged(self, row: Row, others: Rows, findings: list[Finding]) -> Mapped:
        """The record of a volume whose data is not on a backend of this deployment yet."""
        values = self._values(row, others)
        values |= {'status': states.MAINTENANCE, 'previous_status': states.AVAILABLE}
        values['admin_metadata'] = {**values['admin_metadata'], 'migration_source': str(row['host'])}
        item = Item('Volume', str(row['project_id']), str(row['id']), items.set_values(**values))
        mapped = '' if self._hosts.names(str(row['host'])) else ', which the table of backends does not name'
        plan = items.decision(
            'volumes',
            row['id'],
            f'its data is on {row["host"]}{mapped}: it is recorded as unmanaged, in status maintenance',
            f'copy its {row["size"]} GiB: attach it to a machine, run cinderless migrate copy VOLUME DEVICE --to POOL '
            'there; or back it up in Cinder, import that with cinderless backup import-cinder and restore it here; '
            'snapshots stay with the old backend',
        )
        lost = [
            items.left_out('snapshots', one['id'], 'its volume is unmanaged', 'back it up in Cinder, and import that')
            for one in others.snapshots.get(row['id'], [])
        ]
        return Mapped([item], [*findings, plan, *lost])

    def _attachment(self, row: Mapping[str, Any], volume: Row) -> Item:
        info = document(row['connection_info'])
        flat = {
            **{key: value for key, value in (info or {}).items() if key != 'data'},
            **((info or {}).get('data') or {}),
        }
        values = items.set_values(
            **times(row),
            user_id=volume['user_id'],
            volume_id=volume['id'],
            instance_id=row['instance_uuid'],
            attached_at=timestamp(row['attach_time']),
            detached_at=timestamp(row['detach_time']),
            connector=document(row['connector']),
            connection_info={key: value for key, value in flat.items() if key not in SECRETS} if info else None,
            **{name: row[name] for name in ('attach_status', 'attach_mode', 'mountpoint', 'attached_host')},
        )
        secret = {key: flat[key] for key in SECRETS if flat.get(key)}
        return Item('Attachment', str(volume['project_id']), str(row['id']), values, secret)

    def _snapshots(self, volume: Row, others: Rows, place: Place, findings: list[Finding]) -> Iterator[Item]:
        for row in others.snapshots.get(volume['id'], []):
            refusal = _snapshot_refusal(row, volume, self._types)
            if refusal:
                findings.append(items.left_out('snapshots', row['id'], *refusal))
                continue
            kept = ('user_id', 'volume_id', 'volume_size', 'volume_type_id', 'status', 'progress', 'encryption_key_id')
            values = items.set_values(
                **times(row),
                **{name: row[name] for name in kept},
                name=row['display_name'],
                description=row['display_description'],
                metadata=items.pairs(others.snapshot_metadata.get(row['id'], [])),
                group_snapshot_id=row['group_snapshot_id'] if self._has(row['group_snapshot_id']) else None,
                consumes_quota=row['use_quota'] is None or bool(row['use_quota']),
                host=place.pool,
            )
            yield Item('Snapshot', str(row['project_id']), str(row['id']), values)

    def _has(self, group_snapshot_id: Any) -> bool:
        return group_snapshot_id in self._group_snapshots


def _contradiction(
    row: Row, attachments: list[Mapping[str, Any]], transfers: list[Mapping[str, Any]], types: Iterable[str]
) -> tuple[str, str] | None:
    """Return what in a volume's rows excludes each other, and what to do."""
    odd = next((one for one in attachments if one['attach_status'] not in states.ATTACHMENT_STATUSES), None)
    if odd is not None:
        return f'its attachment {odd["id"]} has the status {odd["attach_status"]}', 'delete that attachment in Cinder'
    garbled = next((one for one in attachments if not _is_readable(one)), None)
    if garbled is not None:
        return f'its attachment {garbled["id"]} has a connection that is not JSON', 'attach the volume again in Cinder'
    expected = states.status_after_detach([str(one['attach_status']) for one in attachments])
    offered = any(not one['accepted'] for one in transfers)
    problems = (
        (not row['project_id'] or not row['user_id'], 'it has no project or user', 'delete the row, or set both'),
        (not isinstance(row['size'], int) or row['size'] <= 0, f'its size is {row["size"]}', 'correct its size'),
        (
            row['volume_type_id'] not in types,
            f'its volume type {row["volume_type_id"]} does not exist',
            'retype it in Cinder, or restore the type',
        ),
        (
            row['status'] in ATTACHED and expected in ATTACHED and row['status'] != expected,
            f'its status is {row["status"]}, and by its attachments it is {expected}',
            'reset its status or delete its stale attachments in Cinder',
        ),
        (
            (row['status'] == states.AWAITING_TRANSFER) != offered,
            f'its status is {row["status"]}, and a transfer {"exists" if offered else "does not exist"}',
            'delete the transfer, or reset the status, in Cinder',
        ),
        (
            not row['host'] and not states.is_error(str(row['status'])),
            f'its status is {row["status"]}, and it has no host',
            'reset its status to error in Cinder',
        ),
        (
            row['encryption_key_id'] == FIXED_KEY,
            'its key is the fixed_key of cinder.conf',
            "migrate the key to Barbican first (Cinder's key migration), and run again",
        ),
    )
    return next(((problem, advice) for wrong, problem, advice in problems if wrong), None)


def _under_way(row: Row, attachments: list[Mapping[str, Any]]) -> tuple[str, str] | None:
    if row['status'] not in SETTLED:
        return f'its status is {row["status"]}', _WAIT
    if row['migration_status'] not in states.NOT_MIGRATING and row['migration_status']:
        return f'its migration_status is {row["migration_status"]}', _WAIT
    busy = [one for one in attachments if one['attach_status'] not in SETTLED_ATTACHMENTS]
    return (f'its attachment {busy[0]["id"]} is {busy[0]["attach_status"]}', _WAIT) if busy else None


def _kept_from_moving(row: Row, attachments: list[Mapping[str, Any]], place: Place) -> tuple[str, str] | None:
    """Return why an attached volume is not moved: only one whose export is kept is."""
    if place.pool is None and row['status'] in (states.RESERVED, states.AWAITING_TRANSFER):
        return f'its data is on {row["host"]}, and its status is {row["status"]}', 'make it available in Cinder first'
    if not any(one['attach_status'] in CONNECTED or one['connection_info'] for one in attachments):
        return None
    if place.keeps_exports:
        return None
    hosts = ', '.join(sorted({str(one['attached_host']) for one in attachments}))
    advice = (
        'detach it before the switch and attach it afterwards, or add keep-exports to the line of its backend if the '
        'storage serves its export without Cinder'
    )
    return f'it is attached to {hosts}', advice


def _is_readable(attachment: Mapping[str, Any]) -> bool:
    """Return whether an attachment's connector and connection information are JSON objects, or missing."""
    try:
        found = [document(attachment[name]) for name in ('connector', 'connection_info')]
    except (ValueError, RecursionError):
        return False
    data = found[1].get('data') if isinstance(found[1], dict) else None
    return all(one is None or isinstance(one, dict) for one in (*found, data))


def _placed(row: Row, place: Place) -> dict[str, Any]:
    """Return the attributes of a volume on a pool, adopted under its name; those that drivers own stay unset."""
    if place.pool is None:
        return {}
    facts = {'host': place.pool, 'claimed_gb': row['size'], 'name_id': row['_name_id']}
    shared = None if row['shared_targets'] is None else bool(row['shared_targets'])
    return {**facts, 'shared_targets': shared}


def _linked(row: Row, links: list[Item], snapshots: list[Item], transfers: list[Item]) -> dict[str, Any]:
    """Return the attributes by which a volume names what belongs to it."""
    names = {'attach_status': 'attach_status', 'instance_id': 'instance_id', 'host_name': 'attached_host'}
    names |= {'mountpoint': 'mountpoint', 'attached_at': 'attached_at'}
    summaries = {one.id: {key: one.values.get(value) for key, value in names.items()} for one in links}
    statuses = sorted(str(one['attach_status']) for one in summaries.values())
    return {
        'attachments': summaries,
        'attachment_count': len(summaries),
        'attach_status': statuses[0] if statuses else states.DETACHED,
        'snapshot_count': len(snapshots),
        'transfer_id': transfers[0].id if transfers else None,
        'previous_status': states.AVAILABLE if transfers else None,
    }


def _snapshot_refusal(row: Mapping[str, Any], volume: Row, types: Iterable[str]) -> tuple[str, str] | None:
    problems = (
        (row['status'] not in SETTLED_SNAPSHOTS, f'its status is {row["status"]}', _WAIT),
        (
            not isinstance(row['volume_size'], int) or row['volume_size'] <= 0,
            f'its volume_size is {row["volume_size"]}',
            'correct its volume_size',
        ),
        (
            row['project_id'] is None,
            'it has no project',
            f'set that of its volume {volume["id"]}',
        ),
        (row['volume_type_id'] not in types, f'its volume type {row["volume_type_id"]} does not exist', 'correct it'),
    )
    return next(((problem, advice) for wrong, problem, advice in problems if wrong), None)


def _transfer(row: Mapping[str, Any], volume: Row) -> Item:
    values = items.set_values(
        **times(row),
        user_id=volume['user_id'],
        volume_id=volume['id'],
        name=row['display_name'],
        no_snapshots=bool(row['no_snapshots']),
        salt=row['salt'],
        crypt_hash=row['crypt_hash'],
    )
    return Item('Transfer', str(volume['project_id']), str(row['id']), values)
