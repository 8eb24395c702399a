"""Snapshots: create, copy, delete, describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ebs import describe, tags
from local.ebs.cloud import Cloud, Refused, Snapshot, Volume, new_id
from local.ebs.rules import PENDING_SNAPSHOTS

Parameters = Mapping[str, Any]

#: The longest description, in characters.
MAX_DESCRIPTION = 255


def create(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """Freeze the bytes now; the snapshot is completed later. AWS has no token here: a repeat creates another one."""
    volume = cloud.volume(parameters['VolumeId'])
    _check(cloud, volume)
    return shown(cloud, _made(cloud, volume, parameters))


def create_many(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """Freeze an instance's volumes together, but for those that are excluded; all or none."""
    instance = parameters['InstanceSpecification']
    id, excluded = instance.get('InstanceId', ''), instance.get('ExcludeDataVolumeIds', [])
    if cloud.instances(id) is None:
        raise Refused('InvalidInstanceID.NotFound', f"The instance ID '{id}' does not exist")
    attached = {one.id: one for one in cloud.volumes.values() if id in one.attachments}
    for other in excluded:
        if other not in attached:
            raise Refused('InvalidParameterValue', f"The volume '{other}' is not a data volume of '{id}'.")
    wanted = [volume for other, volume in attached.items() if other not in excluded]
    if not wanted:
        raise Refused('InvalidParameterValue', f"Nothing of '{id}' is left to be snapshotted.")
    for volume in wanted:
        _check(cloud, volume)
    with cloud.file.lock:  # hosts write meanwhile: the lock makes the set point-in-time consistent
        rows = [shown(cloud, _made(cloud, volume, parameters)) for volume in wanted]
    return {'Snapshots': [{name: row[name] for name in row if name != 'KmsKeyId'} for row in rows]}


def _check(cloud: Cloud, volume: Volume) -> None:
    state = volume.state(cloud.now())
    if state not in ('available', 'in-use'):
        raise Refused('IncorrectState', f"The volume '{volume.id}' is '{state}'.")
    _check_pending(cloud, volume)


def _made(cloud: Cloud, volume: Volume, parameters: Parameters) -> Snapshot:
    at = cloud.now()
    made = Snapshot(
        id=new_id('snap'),
        size=int(volume.facts['Size']),
        disk=volume.disk.copy(),
        tags=tags.of_request(cloud, parameters, 'snapshot'),
        started_at=at,
        visible_at=at + cloud.timing.visible,
        completed_at=at + cloud.timing.snapshot,
        volume_id=volume.id,
        description=_description(parameters),
        key=volume.key,
    )
    cloud.snapshots[made.id] = made
    return made


def _check_pending(cloud: Cloud, volume: Volume) -> None:
    ours = [one for one in cloud.snapshots.values() if one.volume_id == volume.id]
    limit = 1 if volume.facts['VolumeType'] in ('sc1', 'st1') else PENDING_SNAPSHOTS
    if sum(one.state(cloud.now()) == 'pending' for one in ours) >= limit:
        message = f'Maximum allowed in-progress snapshots for {volume.id} exceeded.'
        raise Refused('ConcurrentSnapshotLimitExceeded', message)


def _description(parameters: Parameters) -> str:
    text = str(parameters.get('Description', ''))
    if len(text) > MAX_DESCRIPTION:
        raise Refused('InvalidParameterValue', f'The description has more than {MAX_DESCRIPTION} characters.')
    return text


def copy(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """CopySnapshot within the region; the copy's volume id is arbitrary."""
    source = cloud.snapshot(parameters['SourceSnapshotId'])
    if source.state(cloud.now()) != 'completed':
        raise Refused('IncorrectState', f"Snapshot is in invalid state - '{source.state(cloud.now())}'")
    at = cloud.now()
    made = Snapshot(
        id=new_id('snap'),
        size=source.size,
        disk=source.disk.copy(),
        tags=tags.of_request(cloud, parameters, 'snapshot'),
        started_at=at,
        visible_at=at + cloud.timing.visible,
        completed_at=at + cloud.timing.snapshot,
        description=_description(parameters),
        key=parameters.get('KmsKeyId', source.key),
    )
    cloud.snapshots[made.id] = made
    return {'SnapshotId': made.id, 'Tags': tags.shown(made.tags.now)}


def delete(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    cloud.snapshot(parameters['SnapshotId']).disk.drop()
    del cloud.snapshots[parameters['SnapshotId']]
    return {}


def list_(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    at = cloud.now()
    there = {id: one for id, one in cloud.snapshots.items() if at >= one.visible_at}
    rows = [(one, shown(cloud, one)) for one in describe.named(there, parameters, 'Snapshot')]
    found = [row for one, row in rows if describe.matches(_searchable(row), one.tags.seen(at), parameters)]
    return describe.page(found, parameters, 'Snapshots', 'SnapshotIds')


def _searchable(row: Mapping[str, Any]) -> dict[str, list[str]]:
    names = {
        'snapshot-id': 'SnapshotId',
        'volume-id': 'VolumeId',
        'status': 'State',
        'description': 'Description',
        'volume-size': 'VolumeSize',
    }
    return {name: [str(row[member])] for name, member in names.items()}


def shown(cloud: Cloud, snapshot: Snapshot) -> dict[str, Any]:
    at = cloud.now()
    state = snapshot.state(at)
    return {
        'SnapshotId': snapshot.id,
        'VolumeId': snapshot.volume_id,
        'VolumeSize': snapshot.size,
        'State': state,
        'Progress': '100%' if state == 'completed' else '0%',
        'StartTime': snapshot.started_at,
        'Description': snapshot.description,
        'Encrypted': snapshot.key is not None,
        **({'KmsKeyId': snapshot.key} if snapshot.key else {}),
        'Tags': tags.shown(snapshot.tags.seen(at)),
    }
