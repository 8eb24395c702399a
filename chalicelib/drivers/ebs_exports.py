"""Exports to EC2 instances: each is a tag on its volume, and an attachment.

The tag is set first and removed last, so it shows whatever a crash leaves. Several exports may have one instance; the
attachment is removed with the last of them.

A member of a project writes the connector, so the instance that it names is checked: its tag ``cinder:project`` names
the project, or is ``*``. Unknown instances and those of other projects get the same error. IAM refuses AttachVolume for
instances without the tag, whatever this code does.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import Any

from chalicelib import errors
from chalicelib.drivers.base import ConnectionInfo, Connector, VolumeRef
from chalicelib.drivers.ebs_client import Refused, Unsure
from chalicelib.drivers.ebs_objects import Objects, Row, listed_filters, tags
from chalicelib.jitter import jittered

_EXPORT = 'cinder:export:'

#: Tag of an EC2 instance: the id of the project that may attach its volumes there, or * for every project.
INSTANCE_TAG = 'cinder:project'

#: Seconds for an attachment and a detachment; a client waits for both.
ATTACH_WAIT = 18.0

#: Seconds after which describe calls show a new or removed tag.
_TAG_WAIT = 4.0

#: The device names that AWS recommends, and those it reserves for more of them.
DEVICES = tuple(
    [f'/dev/sd{letter}' for letter in 'fghijklmnop']
    + [f'/dev/xvd{first}{second}' for first in 'bcd' for second in string.ascii_lowercase]
)

#: Attempts to find a device name that no other request takes at the same time.
_NAMES_TRIED = 5


def instance_of(connector: Connector) -> str:
    """Return the EC2 instance of the connector. Raises InvalidConnector."""
    for key in ('instance_id', 'instance'):
        value = str(connector.get(key) or '')
        if re.fullmatch('i-[0-9a-f]{8,17}', value):
            return value
    raise errors.InvalidConnector(missing='instance_id: the id (i-...) of the EC2 instance that attaches the volume')


def _check_allowed(objects: Objects, volume: VolumeRef, instance: str) -> None:
    """Raise InvalidConnector unless the instance is tagged for the volume's project.

    DescribeTags returns the same for an unknown instance as for one without the tag.
    """
    filters = listed_filters({'resource-id': instance, 'key': INSTANCE_TAG})
    found = objects.ec2('DescribeTags', volume, Filters=filters)['Tags']
    if not {tag['Value'] for tag in found} & {volume.project_id, '*'}:
        raise _wrong_instance()


def _wrong_instance() -> errors.InvalidConnector:
    return errors.InvalidConnector(
        missing=f'instance_id: an EC2 instance whose tag {INSTANCE_TAG} names the project of the volume'
    )


def connect(objects: Objects, volume: VolumeRef, connector: Connector, export_id: str) -> ConnectionInfo:
    """Attach, and wait until it is done; the same export returns the same result again."""
    instance = instance_of(connector)
    _check_allowed(objects, volume, instance)
    id = objects.with_id(volume, lambda id: _mark(objects, volume, id, {_EXPORT + export_id: instance}))
    _attach(objects, volume, id, instance)
    found: list[Row] = []
    if not objects.api.wait(lambda: _is_attached(objects, id, instance, found), ATTACH_WAIT, longest=2.0):
        raise objects.api.unavailable(f'{volume.name} ({id}) is not attached to {instance} after {ATTACH_WAIT:.0f} s')
    return {'driver_volume_type': 'ebs', 'data': _facts(found[-1], instance)}


def _mark(objects: Objects, volume: VolumeRef, id: str, values: dict[str, str]) -> str:
    objects.tag(id, values, volume)
    return id


def _attach(objects: Objects, volume: VolumeRef, id: str, instance: str) -> None:
    """AttachVolume has no token; a call that took effect before shows as VolumeInUse."""
    device = DEVICES[hashlib.sha256(id.encode()).digest()[0] % len(DEVICES)]
    for _ in range(_NAMES_TRIED):
        try:
            objects.api.ec2('AttachVolume', repeatable=False, VolumeId=id, InstanceId=instance, Device=device)
            return
        except Unsure:
            objects.api.sleep(jittered(1))
        except Refused as refused:
            before = _attachment(objects.volume(id), instance) if refused.code == 'VolumeInUse' else None
            if before and before['State'] != 'detaching':
                return
            if before:
                _await_detached(objects, volume, id, instance)
                continue
            if not _is_taken(refused):
                raise _attach_failure(objects, refused, volume) from refused
            device = _free_device(objects, instance)
    raise objects.api.unavailable(f'{instance} uses every device name that was tried for {volume.name}')


def _is_taken(refused: Refused) -> bool:
    return refused.code == 'InvalidParameterValue' and 'in use' in refused.message


def _attach_failure(objects: Objects, refused: Refused, volume: VolumeRef) -> errors.CinderlessError:
    """An unknown instance, or one in another zone, is an error of the connector."""
    if refused.code in ('InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed'):
        return _wrong_instance()
    if refused.code == 'InvalidVolume.ZoneMismatch':
        return errors.InvalidConnector(missing='instance_id: an EC2 instance in the availability zone of the volume')
    return objects.failure(refused, volume)


def _free_device(objects: Objects, instance: str) -> str:
    """Raises DriverError when the instance has as many volumes as there are names."""
    rows = objects.volumes({'attachment.instance-id': instance})
    taken = {one['Device'] for row in rows for one in row['Attachments'] if one['InstanceId'] == instance}
    for device in DEVICES:
        if device not in taken:
            return device
    raise errors.DriverError(backend=instance, reason=f'all {len(DEVICES)} device names are in use')


def _attachment(row: Row | None, instance: str) -> Row | None:
    attached: list[Row] = row['Attachments'] if row else []
    return next((one for one in attached if one['InstanceId'] == instance), None)


def _await_detached(objects: Objects, volume: VolumeRef, id: str, instance: str) -> None:
    """Wait until an earlier attachment to the same instance has ended. Raises BackendUnavailable."""
    if not objects.api.wait(lambda: _attachment(objects.volume(id), instance) is None, ATTACH_WAIT, longest=2.0):
        raise objects.api.unavailable(f'{volume.name} ({id}) is still being detached from {instance}')


def _is_attached(objects: Objects, id: str, instance: str, found: list[Row]) -> bool:
    row = objects.volume(id)
    attachment = _attachment(row, instance)
    if row is None or attachment is None or attachment['State'] != 'attached':
        return False
    found.append(row)
    return True


def _facts(row: Row, instance: str) -> dict[str, Any]:
    """Return the data for a host: on Nitro a volume is an NVMe device with the volume's id as its serial number."""
    attachment = _attachment(row, instance) or {}
    id = str(row['VolumeId'])
    return {
        'volume_id': id,
        'instance_id': instance,
        'device': attachment['Device'],
        'device_path': f'/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{id.replace("-", "")}',
        'availability_zone': row['AvailabilityZone'],
    }


def disconnect(objects: Objects, volume: VolumeRef, export_id: str | None) -> None:
    """Remove one export, or all; wait until the instances have detached the volume."""
    row = objects.find(volume)
    if row is None:
        return
    removed, kept = _divided(row, export_id)
    if _may_be_old(row, export_id, removed, kept):
        objects.api.sleep(_TAG_WAIT)
        row = objects.require(volume)
        removed, kept = _divided(row, export_id)
    _detach(objects, volume, row, set(removed.values()) - set(kept.values()))
    keys = {*removed, *([_EXPORT + export_id] if export_id is not None else [])}
    if keys:
        objects.api.ec2('DeleteTags', Resources=[row['VolumeId']], Tags=[{'Key': key} for key in sorted(keys)])


def exports_of(row: Row) -> list[tuple[str | None, str]]:
    """Return (export id, instance) of a volume's exports, and of attachments without an export."""
    exports = {key.removeprefix(_EXPORT): one for key, one in tags(row).items() if key.startswith(_EXPORT)}
    attached = {str(one['InstanceId']) for one in row['Attachments']}
    return [*exports.items(), *((None, instance) for instance in sorted(attached - set(exports.values())))]


def detach_unnamed(objects: Objects, volume: VolumeRef, instance: str) -> None:
    """Detach a volume from an instance unless a path leads there: it was attached by others, or its tag was removed."""
    row = objects.find(volume)
    if row is not None and (None, instance) in exports_of(row):
        _detach(objects, volume, row, {instance})


def _divided(row: Row, export_id: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return tag -> instance of the exports to remove, and of those to keep."""
    exports = {key: instance for key, instance in tags(row).items() if key.startswith(_EXPORT)}
    removed = {key: instance for key, instance in exports.items() if export_id is None or key == _EXPORT + export_id}
    return removed, {key: instance for key, instance in exports.items() if key not in removed}


def _may_be_old(row: Row, export_id: str | None, removed: dict[str, str], kept: dict[str, str]) -> bool:
    """Whether the tags may be stale: a new export is missing, or one just removed is still listed."""
    if export_id is None or not row['Attachments']:
        return False
    return not removed or bool(set(removed.values()) & set(kept.values()))


def _detach(objects: Objects, volume: VolumeRef, row: Row, instances: set[str]) -> None:
    id = row['VolumeId']
    leaving = sorted(instance for instance in instances if _attachment(row, instance))
    for instance in leaving:
        try:
            objects.api.ec2('DetachVolume', VolumeId=id, InstanceId=instance)
        except Refused as refused:
            if refused.code != 'IncorrectState':  # detached already
                raise objects.failure(refused, volume) from refused

    def is_free() -> bool:
        now = objects.volume(id)
        return not any(_attachment(now, instance) for instance in leaving)

    if leaving and not objects.api.wait(is_free, ATTACH_WAIT, longest=2.0):
        reason = f'{", ".join(leaving)} has not detached it: unmount it there'
        raise errors.VolumeIsBusy(id=volume.id, backend='', reason=reason)
