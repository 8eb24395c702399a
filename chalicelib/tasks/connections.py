"""Exports to hosts: the synchronous part of attach and detach, run where backends can be reached.

Called by the API through an invoke, with the deadline of the client's request. A backend that does not answer is called
again, with jitter, until the deadline is near: one that restarts for some seconds costs time and nothing else. Every
task may be repeated.

A record names each export before it is made (operations/exports.py). After it is made the record is read again: an
export that is not wanted any more, or whose answer cannot be recorded, is ended here.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

from chalicelib import errors, telemetry, time_left
from chalicelib.drivers.base import ConnectionInfo, Connector
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import attachments, exports
from chalicelib.tasks import backends

T = TypeVar('T')

#: Full jitter between two attempts: up to FIRST_PAUSE seconds, doubled each time, up to LONGEST_PAUSE.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0

#: Seconds before the deadline in which no further attempt begins.
LAST_ATTEMPT = 1.0


def initialize_attachment(payload: dict[str, Any]) -> dict[str, Any]:
    """Make an attachment's export; record the answer with its secrets sealed; return it whole, flattened.

    Payload: project_id, attachment_id, attempt (the attachment's at the time of the request; absent before 0.2).
    An attachment that is deleted or superseded meanwhile leaves no export behind.
    """
    attachment = Attachment.find(payload['project_id'], payload['attachment_id'])
    attempt = payload.get('attempt', attachment.attempt)
    if attachment.attempt != attempt:
        raise base.state_changed(attachment)
    volume = Volume.find(attachment.project_id, attachment.volume_id)
    with _undone_on_error(volume, functools.partial(_is_wanted, attachment, attempt), attachment.id):
        found = _connect(volume, attachment.connector, attachment.id, attachment.attach_mode)
        info = {
            'driver_volume_type': found['driver_volume_type'],
            **found['data'],
            'attachment_id': attachment.id,
            'enforce_multipath': found['enforce_multipath'],
        }
        _record(attachment, attempt, info)
    return info


def _is_wanted(attachment: Attachment, attempt: str | None) -> bool:
    """Whether a host may have the export though this attempt failed: it had it before, or another attempt makes it."""
    now = Attachment.find_or_none(attachment.project_id, attachment.id)
    if now is None:
        return False
    if now.attempt == attempt:
        return attachment.connection_info is not None
    return not str(now.attempt or '').startswith(exports.ENDING)


@contextlib.contextmanager
def _undone_on_error(volume: Volume, is_wanted: Callable[[], bool], export_id: str) -> Iterator[None]:
    """Take the export away when its answer reaches no host; an error of that does not hide the first one."""
    try:
        yield
    except errors.Invalid:  # the driver refused the connector before it made anything
        raise
    except Exception:  # whatever it is, the host has no answer
        with contextlib.suppress(errors.CinderlessError):
            if not is_wanted():
                _disconnect(volume, [export_id])
        raise


def _record(attachment: Attachment, attempt: str | None, info: dict[str, Any]) -> None:
    clear, sealed = attachments.seal_connection_info(attachment.id, info)
    actions = [
        Attachment.connection_info.set(clear),
        Attachment.attach_mode.set(info['access_mode']),
        Attachment.sealed.set(sealed) if sealed else Attachment.sealed.remove(),
    ]
    same = Attachment.attempt.does_not_exist() if attempt is None else Attachment.attempt == attempt
    base.update(attachment, [*actions, *base.touched(Attachment)], same)


def initialize_connection(payload: dict[str, Any]) -> ConnectionInfo:
    """Make an export that the volume's record names (os-initialize_connection).

    Payload: project_id, volume_id, export_id, connector. Raises StateChanged when the record does not name it (any
    more), or the volume has another owner: the export is ended then.
    """
    volume = Volume.find(payload['project_id'], payload['volume_id'])
    export_id = payload['export_id']
    if not exports.is_intended(volume, export_id):
        raise base.state_changed(volume)
    with _undone_on_error(volume, functools.partial(_is_intended, volume, export_id), export_id):
        info = _connect(volume, payload['connector'], export_id, None)
        if not _is_intended(volume, export_id):
            raise base.state_changed(volume)
    return info


def _is_intended(volume: Volume, export_id: str) -> bool:
    now = Volume.find_or_none(volume.project_id, volume.id)
    return now is not None and exports.is_intended(now, export_id)


def terminate_connection(payload: dict[str, Any]) -> None:
    """End exports. Payload: project_id, volume_id, export_id (one, a list, or null: all)."""
    named = payload['export_id']
    volume = Volume.find(payload['project_id'], payload['volume_id'])
    _disconnect(volume, [named] if isinstance(named, str) else named)


def _disconnect(volume: Volume, export_ids: list[str] | None) -> None:
    driver, ref = backends.driver(volume), backends.volume_ref(volume)
    for export_id in [None] if export_ids is None else export_ids:
        patiently(functools.partial(driver.terminate_connection, ref, export_id))


def patiently(call: Callable[[], T]) -> T:
    """Repeat a verb while its backend does not answer and the request has time left; raise the last error.

    Without a deadline there is one attempt: the workflow has its own retries.
    """
    for attempt in itertools.count():
        try:
            return call()
        except errors.BackendUnavailable:
            pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311 - jitter, no secret
            if time_left.deadline() is None or time_left.at_most(time_left.GATEWAY) - pause < LAST_ATTEMPT:
                raise
            telemetry.count('Retries', why='backend')
            time.sleep(pause)
    raise AssertionError  # pragma: no cover - count() does not end


def _connect(volume: Volume, connector: Connector, export_id: str, mode: str | None) -> ConnectionInfo:
    if not volume.host:
        raise errors.InvalidVolume(reason=f'Volume {volume.id} has no backend yet; wait until it is available.')
    access = access_mode(volume, mode)
    driver, ref = backends.driver(volume), backends.volume_ref(volume)
    found = patiently(functools.partial(driver.initialize_connection, ref, connector, export_id, access))
    return decorated(volume, found, access, bool(connector.get('enforce_multipath', False)))


def access_mode(volume: Volume, mode: str | None) -> Literal['rw', 'ro']:
    """Return ro if the attachment's mode is ro or the volume is flagged readonly (os-update_readonly_flag), else rw."""
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
