"""Invariants of tables and backends while no operation is in progress."""

from __future__ import annotations

import collections

from chalicelib.models import (
    Attachment,
    Backup,
    Group,
    GroupSnapshot,
    Message,
    Pool,
    Quota,
    Secret,
    Snapshot,
    Volume,
)
from chalicelib.rules import states, workflows
from tests.simulation import Simulation

#: A migration shows a volume that is not locked as what it was, and a check a backup.
SHOWN_THROUGHOUT = {'available', 'in-use'}

#: Resource -> statuses in which work is under way; a volume transfer lasts until a user ends it.
TRANSITIONAL = {
    'volume': {row.running for row in workflows.VOLUME.values() if row.deadline} - SHOWN_THROUGHOUT,
    'snapshot': {row.running for row in workflows.SNAPSHOT.values()},
    'backup': {row.running for row in workflows.BACKUP.values()} - SHOWN_THROUGHOUT,
    'group': {row.running for row in workflows.GROUP.values()},
    'group_snapshot': {row.running for row in workflows.GROUP_SNAPSHOT.values()},
}


def check(
    simulation: Simulation, waiting: frozenset[str] = frozenset(), explained: frozenset[str] = frozenset()
) -> None:
    """Check every invariant; fail with a list of those that do not hold.

    ``waiting``: statuses of volumes that wait for a host. ``explained``: ids of records that need no message for their
    error, for an administrator has set it.
    """
    volumes, snapshots = list(Volume.scan()), list(Snapshot.scan())
    broken = [
        *_at_rest([*(one for one in volumes if one.status not in waiting), *snapshots]),
        *_at_rest([*Backup.scan(), *Group.scan(), *GroupSnapshot.scan()]),
        *_groups(volumes, snapshots),
        *_objects(simulation, volumes, snapshots),
        *_kept(simulation),
        *unrecorded_exports(simulation),
        *surviving_sessions(simulation),
        *miscounted(simulation),
        *_secrets([*volumes, *snapshots, *Backup.scan()]),
        *_errors_explained([*volumes, *snapshots, *Group.scan(), *GroupSnapshot.scan()], explained),
        *(violation for backend in simulation.backends.values() for violation in backend.violations),
    ]
    assert broken == [], '; '.join(broken)


def miscounted(simulation: Simulation) -> list[str]:
    """Counters of sources, pools and quotas that are not the sums over the records."""
    volumes, snapshots = list(Volume.scan()), list(Snapshot.scan())
    return [*_counters(volumes, snapshots), *_claims(simulation, volumes), *_quotas(volumes, snapshots)]


def _secrets(records: list) -> list[str]:
    """Each key is some record's, in that record's project, and each sealed CHAP secret is of an attached host.

    Snapshots share their volume's key. Keys of an external Barbican are not in the table.
    """
    keys = {(key.project_id, key.id) for key in Secret.scan()}
    used = {(one.project_id, one.encryption_key_id) for one in records if one.encryption_key_id}
    sealed = [one for one in Attachment.scan() if one.sealed and one.connector is None]
    return [
        *(f'key {id} of project {project} is of no record' for project, id in sorted(keys - used)),
        *(f'attachment {one.id} keeps a secret and has no host' for one in sealed),
        *(f'key {id} of project {project} is gone' for project, id in sorted(used - keys) if keys),
    ]


def _at_rest(records: list) -> list[str]:
    return [
        f'{record.resource} {record.id} is {record.status}, in flight {record.in_flight}, owner {record.owner}'
        for record in records
        if record.status in TRANSITIONAL[record.resource] or record.in_flight or record.owner or record.operation
    ]


def _objects(simulation: Simulation, volumes: list[Volume], snapshots: list[Snapshot]) -> list[str]:
    """Compare backend objects with records, both ways; only failed deletions may differ."""
    doubtful = {f'{record.resource}-{record.id}' for record in [*volumes, *snapshots] if 'error' in record.status}
    wanted = {f'volume-{volume.name_id or volume.id}': (volume.host, volume.size) for volume in volumes if volume.host}
    hosts = {volume.id: volume.host for volume in volumes}
    wanted |= {f'snapshot-{one.id}': (hosts[one.volume_id], one.volume_size) for one in snapshots}
    found = {
        name: (f'{backend.host}#{one.pool}', one.size)
        for backend in simulation.backends.values()
        for name, one in backend.objects.items()
        if name.startswith(('volume-', 'snapshot-')) and name not in backend.kept
    }
    doubtful |= {f'snapshot-{backup.id}' for backup in Backup.scan() if backup.reading}
    placeless = {f'volume-{volume.id}' for volume in volumes if not volume.host}
    return [
        f'{name}: the record shows {wanted.get(name)}, the backend {found.get(name)}'
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name) and (name not in doubtful or name in placeless)
    ]


def _kept(simulation: Simulation) -> list[str]:
    """Snapshots kept of backups that are of no volume or no backup, more than one of a volume, or without an object."""
    backups = {f'snapshot-{backup.id}' for backup in Backup.scan()}
    return [
        f'{name} is kept of {volume} on {backend.host}, and of no use'
        for backend in simulation.backends.values()
        for name, volume in backend.kept.items()
        if name not in backups
        or not {name, volume} <= set(backend.objects)
        or list(backend.kept.values()).count(volume) > 1
    ]


def unrecorded_exports(simulation: Simulation) -> list[str]:
    """Exports on a backend that neither an attachment nor the volume's record names."""
    named = {
        (f'volume-{volume.name_id or volume.id}', id)
        for volume in Volume.scan()
        for id in (*volume.exports, *volume.attachments)
    }
    return [
        f'export {id} of {name} on {backend.host} is on no record'
        for backend in simulation.backends.values()
        for name, ids in backend.paths.items()
        for id in ids
        if (name, id) not in named
    ]


def surviving_sessions(simulation: Simulation) -> list[str]:
    """Initiators that are logged in where no record of a volume that may be exported names their export."""
    allowed = {
        (volume.backend, f'volume-{volume.name_id or volume.id}', id)
        for volume in Volume.scan()
        if volume.status not in states.NOT_EXPORTABLE
        or (volume.status in states.EXPORTABLE_ATTACHED and volume.attachments)
        for id in (*volume.exports, *volume.attachments)
    }
    return [
        f'{initiator} is logged in to {name} on {backend.host} by export {id}, and may not be'
        for backend in simulation.backends.values()
        for (name, id), initiator in backend.sessions.items()
        if (backend.host, name, id) not in allowed
    ]


def _counters(volumes: list[Volume], snapshots: list[Snapshot]) -> list[str]:
    """Compare counters with records. A backup that could not remove its backend object stays a reader until deleted."""
    taken = collections.Counter(snapshot.volume_id for snapshot in snapshots)
    reading = collections.Counter(backup.reading['id'] for backup in Backup.scan() if backup.reading)
    held = [
        f'{record.resource} {record.id} has {record.reader_count} readers, not {reading[record.id]}'
        for record in [*volumes, *snapshots]
        if record.reader_count != reading[record.id]
    ]
    return held + [
        f'volume {volume.id} counts {volume.snapshot_count} snapshots, and has {taken[volume.id]}'
        for volume in volumes
        if volume.snapshot_count != taken[volume.id] or volume.reading or volume.reserved_gb or volume.reserved_type_id
    ]


def _groups(volumes: list[Volume], snapshots: list[Snapshot]) -> list[str]:
    """A group counts its volumes and group snapshots; members are of its types, on its backend, and have a group."""
    groups = {group.id: group for group in Group.scan()}
    group_snapshots = {one.id: one for one in GroupSnapshot.scan()}
    taken = collections.Counter(one.group_id for one in group_snapshots.values())
    grouped = collections.Counter(volume.group_id for volume in volumes if volume.group_id)
    strays = [volume for volume in volumes if volume.host and volume.group_id in groups
              and volume.backend != groups[volume.group_id].host]  # fmt: skip
    strays += [volume for volume in volumes if volume.group_id in groups
               and volume.volume_type_id not in groups[volume.group_id].volume_type_ids]  # fmt: skip
    orphans = [one for one in volumes if one.group_id and one.group_id not in groups]
    orphans += [one for one in snapshots if one.group_snapshot_id and one.group_snapshot_id not in group_snapshots]
    return [
        f'group {group.id} counts {group.volume_count, group.group_snapshot_count}, not {grouped[id], taken[id]}'
        for id, group in groups.items()
        if (group.volume_count, group.group_snapshot_count) != (grouped[id], taken[id])
    ] + [f'{record.resource} {record.id} is astray of its group' for record in [*strays, *orphans]]


def _claims(simulation: Simulation, volumes: list[Volume]) -> list[str]:
    """Compare the pools' claims with sums over volumes; only failed deletions are in transit."""
    broken = []
    for pool in Pool.scan():
        mine = [volume for volume in volumes if volume.host == pool.id]
        wanted = (sum(volume.claimed_gb for volume in mine), len(mine), sum(volume.in_transit_gb for volume in mine))
        if (pool.allocated_gb, pool.volume_count, pool.in_transit_gb) != wanted:
            broken.append(
                f'pool {pool.id} counts {pool.allocated_gb, pool.volume_count, pool.in_transit_gb}, not {wanted}'
            )
        total = simulation.backends[pool.id.partition('#')[0]].pools[pool.id.partition('#')[2]]
        if pool.claimable_gb > total - pool.allocated_gb:
            broken.append(f'pool {pool.id} gives {pool.claimable_gb} of {total}, with {pool.allocated_gb} allocated')
    stray = [volume for volume in volumes if (volume.claimed_gb is None) != (volume.host is None)]
    moving = [volume for volume in volumes if volume.in_transit_gb and volume.status != 'error_deleting']
    return broken + [f'volume {volume.id} on {volume.host} claims {volume.claimed_gb}' for volume in [*stray, *moving]]


def _quotas(volumes: list[Volume], snapshots: list[Snapshot]) -> list[str]:
    """Counters == sums over records, per project and per type."""
    wanted: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for record, name, size in [
        *((volume, 'volumes', int(volume.size)) for volume in volumes if volume.consumes_quota),
        *((snapshot, 'snapshots', int(snapshot.volume_size)) for snapshot in snapshots if snapshot.consumes_quota),
    ]:
        for suffix in ('', f'_{record.volume_type_id}'):
            wanted[record.project_id][f'{name}{suffix}'] += 1
            wanted[record.project_id][f'gigabytes{suffix}'] += size
    for group in Group.scan():
        wanted[group.project_id].update(groups=1)
    for backup in Backup.scan():
        wanted[backup.project_id].update(backups=1, backup_gigabytes=int(backup.size))
    quotas = {quota.project_id: quota for quota in Quota.scan() if quota.id == 'quota'}
    return [
        f'quota of {project}: {dict(found)} is counted, {dict(wanted[project])} is there'
        for project, quota in quotas.items()
        if (found := collections.Counter({k: v for k, v in quota.usage.attribute_values.items() if v}))
        != wanted[project]
        or any(quota.reserved.attribute_values.values())
    ]


def _errors_explained(records: list, explained: frozenset[str]) -> list[str]:
    told = {message.resource_uuid for message in Message.scan()} | explained
    return [
        f'{record.resource} {record.id} is in {record.status}, and no message has its reason'
        for record in records
        if 'error' in record.status and record.id not in told
    ]
