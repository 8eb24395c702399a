"""Volumes: create, copy, modify, delete, describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local.ebs import describe, tags
from local.ebs.blocks import Disk
from local.ebs.cloud import Cloud, Modification, Refused, Snapshot, Volume, new_id
from local.ebs.rules import MODIFICATION_WINDOW, MODIFICATIONS, Shape, shape

Parameters = Mapping[str, Any]

#: Properties that a modification may change, as named in its original and target values.
_MODIFIABLE = ('Size', 'VolumeType', 'Iops', 'Throughput', 'MultiAttachEnabled')


def create(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    id = cloud.once(parameters, lambda: _create(cloud, parameters))
    return _after(cloud, id)


def _create(cloud: Cloud, parameters: Parameters) -> str:
    zone = _zone(cloud, parameters)
    source = _source(cloud, parameters)
    wanted = shape(parameters, _size(parameters, source))
    key = _key(cloud, parameters, source.key if source else None)
    disk = source.disk.copy() if source else Disk(cloud.file)
    return _add(cloud, parameters, zone, wanted, key, disk, snapshot_id=source.id if source else '')


def _zone(cloud: Cloud, parameters: Parameters) -> str:
    zone = parameters.get('AvailabilityZone')
    if zone is None:
        raise Refused('MissingParameter', 'The request must contain the parameter zone')
    if zone not in cloud.zones:
        raise Refused('InvalidZone.NotFound', f"The zone '{zone}' does not exist.")
    return str(zone)


def zones(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    return {'AvailabilityZones': [{'ZoneName': zone, 'State': 'available'} for zone in cloud.zones]}


def _source(cloud: Cloud, parameters: Parameters) -> Snapshot | None:
    """Return the completed source snapshot of a volume; None without one."""
    if 'SnapshotId' not in parameters:
        return None
    snapshot = cloud.snapshot(parameters['SnapshotId'])
    state = snapshot.state(cloud.now())
    if state != 'completed':
        raise Refused('IncorrectState', f"Snapshot is in invalid state - '{state}'")
    return snapshot


def _size(parameters: Parameters, source: Snapshot | None) -> int:
    if source is None and 'Size' not in parameters:
        raise Refused('MissingParameter', 'The request must contain the parameter size or snapshotId')
    size = int(parameters.get('Size', source.size if source else 0))
    if source and size < source.size:
        raise Refused('InvalidParameterValue', f'Volume of {size}GiB is smaller than snapshot of {source.size}GiB')
    return size


def _key(cloud: Cloud, parameters: Parameters, inherited: str | None) -> str | None:
    """Return the KMS key, None for an unencrypted volume; a volume of an encrypted source is encrypted."""
    asked = parameters.get('KmsKeyId')
    if asked and not parameters.get('Encrypted'):
        raise Refused(
            'InvalidParameterDependency', 'The parameter KmsKeyId requires the parameter Encrypted to be set.'
        )
    if parameters.get('Encrypted') is False and inherited:
        raise Refused('InvalidParameterCombination', 'An encrypted source cannot become unencrypted.')
    if asked:
        return str(asked)
    return inherited or ('alias/aws/ebs' if parameters.get('Encrypted') else None)


def _add(
    cloud: Cloud,
    parameters: Parameters,
    zone: str,
    wanted: Shape,
    key: str | None,
    disk: Disk,
    snapshot_id: str = '',
    source_id: str = '',
) -> str:
    if cloud.storage_limit is not None and cloud.used_gib() + wanted.size > cloud.storage_limit:
        raise Refused('VolumeLimitExceeded', 'You have exceeded your maximum storage limit in this region.')
    at = cloud.now()
    volume = Volume(
        id=new_id('vol'),
        zone=zone,
        facts=_facts(wanted),
        disk=disk,
        tags=tags.of_request(cloud, parameters, 'volume'),
        created_at=at,
        available_at=at + cloud.timing.volume,
        visible_at=at + cloud.timing.visible,
        key=key,
        doomed=key not in (None, 'alias/aws/ebs') and not cloud.keys(str(key)),
        snapshot_id=snapshot_id,
        source_id=source_id,
    )
    cloud.volumes[volume.id] = volume
    return volume.id


def _facts(wanted: Shape) -> dict[str, Any]:
    return {
        'Size': wanted.size,
        'VolumeType': wanted.kind,
        'Iops': wanted.iops,
        'Throughput': wanted.throughput,
        'MultiAttachEnabled': wanted.multi_attach,
    }


def _after(cloud: Cloud, id: str) -> dict[str, Any]:
    """Return the answer, also to a repeated request: a volume deleted meanwhile is not created again."""
    if id not in cloud.volumes:
        return {'VolumeId': id, 'State': 'deleted'}
    return shown(cloud, cloud.volumes[id])


def copy(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """CopyVolumes: the source's bytes as of now, in its zone."""
    id = cloud.once(parameters, lambda: _copy(cloud, parameters))
    return {'Volumes': [_after(cloud, id)]}


def _copy(cloud: Cloud, parameters: Parameters) -> str:
    source = cloud.volume(parameters['SourceVolumeId'])
    _require(cloud, source, 'available', 'in-use')
    size = int(parameters.get('Size', source.facts['Size']))
    if size < source.facts['Size']:
        raise Refused('InvalidParameterValue', f'Volume of {size}GiB is smaller than its source')
    wanted = shape(parameters, size)
    key = _key(cloud, parameters, source.key)
    return _add(cloud, parameters, source.zone, wanted, key, source.disk.copy(), source_id=source.id)


def _require(cloud: Cloud, volume: Volume, *states: str) -> None:
    state = volume.state(cloud.now())
    if state not in states:
        raise Refused('IncorrectState', f"The volume '{volume.id}' is '{state}'.")


def delete(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    volume = cloud.volume(parameters['VolumeId'])
    if volume.attachments:
        one = next(iter(volume.attachments))
        raise Refused('VolumeInUse', f'Volume {volume.id} is currently attached to {one}')
    if volume.deleted_at is not None:
        raise Refused('InvalidVolume.NotFound', f"The volume '{volume.id}' does not exist.")
    volume.deleted_at = cloud.now() + cloud.timing.delete
    return {}


def modify(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    volume = cloud.volume(parameters['VolumeId'])
    _require(cloud, volume, 'available', 'in-use')
    at = cloud.now()
    if any(one.state(at) != 'completed' for one in volume.modifications):
        message = f'Cannot modify volume {volume.id} in modification state {volume.modifications[-1].state(at)}'
        raise Refused('IncorrectModificationState', message)
    target = _target(volume, parameters)
    recent = [one for one in volume.modifications if one.started_at > at - MODIFICATION_WINDOW]
    if len(recent) >= MODIFICATIONS:
        message = f"You've reached the maximum modification rate per volume limit: {MODIFICATIONS} in 24 hours."
        raise Refused('VolumeModificationRateExceeded', message)
    optimizing = at + cloud.timing.modify
    made = Modification(dict(volume.facts), target, at, optimizing, optimizing + cloud.timing.optimize)
    volume.modifications.append(made)
    return {'VolumeModification': _modification(cloud, volume, made)}


def _target(volume: Volume, parameters: Parameters) -> dict[str, Any]:
    facts = volume.facts
    if facts['VolumeType'] == 'standard':
        raise Refused('InvalidParameterValue', 'Volumes of type standard cannot be modified.')
    size = int(parameters.get('Size', facts['Size']))
    if size < facts['Size']:
        raise Refused('InvalidParameterValue', f'New size cannot be smaller than existing size ({facts["Size"]}GiB)')
    kind = str(parameters.get('VolumeType', facts['VolumeType']))
    kept = {name: facts[name] for name in ('Iops', 'Throughput') if _keeps(facts, kind, name)}
    asked = {name: parameters[name] for name in _MODIFIABLE if name in parameters}
    multi_attach = {'MultiAttachEnabled': facts['MultiAttachEnabled']}
    target = _facts(shape({**multi_attach, **kept, **asked, 'VolumeType': kind}, size))
    if target == facts:
        raise Refused('InvalidParameterValue', 'The modification changes nothing.')
    if target['MultiAttachEnabled'] != facts['MultiAttachEnabled'] and volume.attachments:
        raise Refused('InvalidParameterCombination', 'Multi-Attach cannot be changed while the volume is attached.')
    return target


def _keeps(facts: Mapping[str, Any], kind: str, name: str) -> bool:
    return kind == facts['VolumeType'] and kind != 'gp2' and facts[name] is not None


def list_(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    at = cloud.now()
    there = {id: volume for id, volume in cloud.volumes.items() if at >= volume.visible_at}
    rows = [(volume, shown(cloud, volume)) for volume in describe.named(there, parameters, 'Volume')]
    found = [row for volume, row in rows if describe.matches(_searchable(row), volume.tags.seen(at), parameters)]
    return describe.page(found, parameters, 'Volumes', 'VolumeIds')


def _searchable(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """Filter -> the values that a volume has for it."""
    single = {
        'volume-id': row['VolumeId'],
        'status': row['State'],
        'availability-zone': row['AvailabilityZone'],
        'snapshot-id': row['SnapshotId'],
        'volume-type': row['VolumeType'],
        'size': row['Size'],
        'encrypted': str(row['Encrypted']).lower(),
    }
    attached = row['Attachments']
    return {
        **{name: [str(value)] for name, value in single.items()},
        'attachment.instance-id': [one['InstanceId'] for one in attached],
        'attachment.device': [one['Device'] for one in attached],
        'attachment.status': [one['State'] for one in attached],
    }


def shown(cloud: Cloud, volume: Volume) -> dict[str, Any]:
    at = cloud.now()
    return {
        **{name: value for name, value in volume.facts.items() if value is not None},
        'VolumeId': volume.id,
        'AvailabilityZone': volume.zone,
        'State': volume.state(at),
        'CreateTime': volume.created_at,
        'Encrypted': volume.key is not None,
        **({'KmsKeyId': volume.key} if volume.key else {}),
        'SnapshotId': volume.snapshot_id,
        **({'SourceVolumeId': volume.source_id} if volume.source_id else {}),
        'Attachments': [
            {
                'VolumeId': volume.id,
                'InstanceId': one.instance_id,
                'Device': one.device,
                'State': one.state(at),
                'AttachTime': one.since,
            }
            for one in volume.attachments.values()
        ],
        'Tags': tags.shown(volume.tags.seen(at)),
    }


def modifications(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """The newest modification of each volume; a volume that is named must have one."""
    latest = {id: volume for id, volume in cloud.volumes.items() if volume.modifications}
    for id in parameters.get('VolumeIds', []):
        if id not in latest:
            raise Refused('InvalidVolumeModification.NotFound', f"Modification for volume '{id}' does not exist.")
    wanted = parameters.get('VolumeIds') or list(latest)
    rows = [_modification(cloud, latest[id], latest[id].modifications[-1]) for id in wanted]
    found = [row for row in rows if describe.matches(_states(row), {}, parameters)]
    return describe.page(found, parameters, 'VolumesModifications', 'VolumeIds')


def _states(row: Mapping[str, Any]) -> dict[str, list[str]]:
    return {'volume-id': [row['VolumeId']], 'modification-state': [row['ModificationState']]}


def _modification(cloud: Cloud, volume: Volume, one: Modification) -> dict[str, Any]:
    state = one.state(cloud.now())
    values = {f'Original{name}': value for name, value in one.original.items() if value is not None}
    values |= {f'Target{name}': value for name, value in one.target.items() if value is not None}
    return {
        **values,
        'VolumeId': volume.id,
        'ModificationState': state,
        'StartTime': one.started_at,
        'Progress': 100 if state == 'completed' else 0,
    }
