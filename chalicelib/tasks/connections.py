"""Paths from hosts to volumes: the synchronous part of attach and detach, run where backends can be reached.

Called by the API through an invoke with a budget below API Gateway's; every task may be repeated.
"""

from __future__ import annotations

import contextlib
from typing import Any, Literal

from chalicelib import errors
from chalicelib.drivers.base import ConnectionInfo, Connector
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import attachments
from chalicelib.tasks import backends


def initialize_attachment(payload: dict[str, Any]) -> dict[str, Any]:
    """Prepare an attachment's path; record the answer with its secrets sealed; return it whole, flattened.

    Payload: project_id, attachment_id. An attachment deleted meanwhile leaves no path behind.
    """
    attachment = Attachment.find(payload['project_id'], payload['attachment_id'])
    volume = Volume.find(attachment.project_id, attachment.volume_id)
    found = _open_path(volume, attachment)
    info = {
        'driver_volume_type': found['driver_volume_type'],
        **found['data'],
        'attachment_id': attachment.id,
        'enforce_multipath': found['enforce_multipath'],
    }
    try:
        _record(attachment, info)
    except errors.AttachmentNotFound:
        _disconnect(volume, attachment.id)
        raise
    return info


def _open_path(volume: Volume, attachment: Attachment) -> ConnectionInfo:
    """Make the path, or take away what a first attempt that failed may have left of it: nobody can be using that."""
    try:
        return _connect(volume, attachment.connector, attachment.id, attachment.attach_mode)
    except errors.DriverError:
        if attachment.connection_info is None:
            with contextlib.suppress(errors.CinderlessError):
                _disconnect(volume, attachment.id)
        raise


def _record(attachment: Attachment, info: dict[str, Any]) -> None:
    clear, sealed = attachments.seal_connection_info(attachment.id, info)
    actions = [
        Attachment.connection_info.set(clear),
        Attachment.attach_mode.set(info['access_mode']),
        Attachment.sealed.set(sealed) if sealed else Attachment.sealed.remove(),
    ]
    base.update(attachment, [*actions, *base.touched(Attachment)])


def initialize_connection(payload: dict[str, Any]) -> ConnectionInfo:
    """Prepare a path that no attachment names (os-initialize_connection).

    Payload: project_id, volume_id, export_id, connector.
    """
    volume = Volume.find(payload['project_id'], payload['volume_id'])
    return _connect(volume, payload['connector'], payload['export_id'], None)


def terminate_connection(payload: dict[str, Any]) -> None:
    """Take one path away, or all of a volume's. Payload: project_id, volume_id, export_id (null: all)."""
    _disconnect(Volume.find(payload['project_id'], payload['volume_id']), payload['export_id'])


def _disconnect(volume: Volume, export_id: str | None) -> None:
    backends.driver(volume).terminate_connection(backends.volume_ref(volume), export_id)


def _connect(volume: Volume, connector: Connector, export_id: str, mode: str | None) -> ConnectionInfo:
    if not volume.host:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} has no backend yet; wait until it is available.')
    access = access_mode(volume, mode)
    found = backends.driver(volume).initialize_connection(backends.volume_ref(volume), connector, export_id, access)
    return decorated(volume, found, access, bool(connector.get('enforce_multipath', False)))


def access_mode(volume: Volume, mode: str | None) -> Literal['rw', 'ro']:
    """Read-only when the attachment asks for it or the volume's flag says so (os-update_readonly_flag), else rw."""
    read_only = mode == 'ro' or volume.admin_metadata.get('readonly') == 'True'
    return 'ro' if read_only else 'rw'


def decorated(volume: Volume, found: ConnectionInfo, access: str, enforce_multipath: bool) -> ConnectionInfo:
    """What Cinder's manager adds to a driver's answer before a host sees it."""
    data = {
        'qos_specs': backends.front_end_qos(volume),
        'encrypted': volume.encryption_key_id is not None,
        'cacheable': False,
        **found['data'],
        'access_mode': access,
    }
    return {
        'driver_volume_type': found['driver_volume_type'],
        'data': data,
        'enforce_multipath': enforce_multipath,
    }
