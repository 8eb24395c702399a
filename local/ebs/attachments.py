"""Volumes on instances."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.ebs.cloud import Attachment, Cloud, Refused, Volume
from local.ebs.rules import MAX_INSTANCES

Parameters = Mapping[str, Any]

_DEVICE = re.compile(r'/dev/(sd[b-z][1-9]?|xvd[b-d][a-z])')


def attach(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    volume, instance_id = cloud.volume(parameters['VolumeId']), str(parameters['InstanceId'])
    device = str(parameters.get('Device', ''))
    _check_instance(cloud, volume, instance_id)
    _check_volume(cloud, volume, instance_id)
    _check_device(cloud, instance_id, device)
    at = cloud.now()
    volume.attachments[instance_id] = Attachment(instance_id, device, at, at + cloud.timing.attach)
    return _shown(cloud, volume, volume.attachments[instance_id])


def _check_instance(cloud: Cloud, volume: Volume, instance_id: str) -> None:
    instance = cloud.instances(instance_id)
    if instance is None:
        raise Refused('InvalidInstanceID.NotFound', f"The instance ID '{instance_id}' does not exist")
    if instance.state not in ('running', 'stopped', 'stopping', 'pending'):
        raise Refused('IncorrectState', f"Instance '{instance_id}' is not 'running'.")
    if instance.zone != volume.zone:
        message = f"The volume '{volume.id}' is not in the same availability zone as instance '{instance_id}'"
        raise Refused('InvalidVolume.ZoneMismatch', message)


def _check_volume(cloud: Cloud, volume: Volume, instance_id: str) -> None:
    state = volume.state(cloud.now())
    shared = volume.facts['MultiAttachEnabled']
    if instance_id in volume.attachments or (state == 'in-use' and not shared):
        raise Refused('VolumeInUse', f'{volume.id} is already attached to an instance')
    if state not in ('available', 'in-use'):
        raise Refused('IncorrectState', f"Unable to attach volume '{volume.id}': it is '{state}'.")
    if len(volume.attachments) >= MAX_INSTANCES:
        raise Refused('AttachmentLimitExceeded', f'{volume.id} is attached to {MAX_INSTANCES} instances.')


def _check_device(cloud: Cloud, instance_id: str, device: str) -> None:
    if not _DEVICE.fullmatch(device):
        raise Refused('InvalidParameterValue', f'Value ({device}) for parameter device is invalid.')
    taken = [one.attachments[instance_id].device for one in cloud.volumes.values() if instance_id in one.attachments]
    if device in taken:
        message = f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        raise Refused('InvalidParameterValue', message)


def detach(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    volume = cloud.volume(parameters['VolumeId'])
    instance_id = parameters.get('InstanceId')
    if instance_id is None and volume.facts['MultiAttachEnabled']:
        raise Refused('MissingParameter', 'The request must contain the parameter instanceId')
    one = volume.attachments.get(instance_id or next(iter(volume.attachments), ''))
    if one is None:
        raise Refused('IncorrectState', f"Volume '{volume.id}' is in the 'available' state.")
    if one.detached_at is None:
        one.detached_at = cloud.now() + cloud.timing.detach
    return _shown(cloud, volume, one)


def _shown(cloud: Cloud, volume: Volume, one: Attachment) -> dict[str, Any]:
    return {
        'VolumeId': volume.id,
        'InstanceId': one.instance_id,
        'Device': one.device,
        'State': one.state(cloud.now()),
        'AttachTime': one.since,
    }
