"""The states of download_image (a new volume's image, and reimage) and of upload_image.

Payload of every task: action, resource, project_id, id (of the volume), request_id; the copy adds ``image`` (what is
copied) and ``progress`` (how far it got). The volume's operation names the image.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from chalicelib import errors
from chalicelib.clients.glance import Image
from chalicelib.drivers.base import GIB, Driver, VolumeRef
from chalicelib.models import Volume
from chalicelib.operations import cloud, common, compute, images
from chalicelib.rules import states, workflows
from chalicelib.rules.messages import Action, Detail
from chalicelib.tasks import backends, image_copies, pending_copies
from chalicelib.tasks.create_volume import model_actions
from chalicelib.tasks.work import Payload, VolumeWork

logger = logging.getLogger(__name__)


def open_image(payload: Payload) -> dict[str, Any]:
    """Check that the image can still be copied; return its id, size, algorithm and digest."""
    volume = VolumeWork.take(payload).record
    pending_copies.await_none(volume)
    image = _image(volume)
    if image.status != 'active':
        raise errors.ImageCopyFailure(reason=f'image {image.id} is not active any more, but {image.status}')
    images.check(image)
    if (image.size or 0) > int(volume.size) * GIB:
        raise errors.ImageTooBig(id=image.id, reason=f'it has {image.size} bytes, the volume {volume.size} GiB')
    algorithm, digest = image.digest or ('', '')
    return {'id': image.id, 'size': image.size, 'algorithm': algorithm, 'digest': digest}


def _image(volume: Volume) -> Image:
    return cloud.images().get(str(volume.operation_facts()['image_id']))


def _export_id(payload: Payload) -> str:
    """The name of this copy's export: closed at its end, so that a late task of it writes nothing any more."""
    return str(uuid.uuid5(uuid.UUID(payload['id']), f'{payload["action"]}/{payload["request_id"]}'))


def copy_image(payload: Payload) -> dict[str, Any]:
    """Write the image to the volume from the cursor on, until it is there or time runs short."""
    work = VolumeWork.take(payload)
    volume = work.record
    driver = backends.driver(volume)
    whole = not driver.capabilities.opens_volumes
    zeroed = whole or (bool(volume.operation_facts().get('new')) and driver.capabilities.zeroed_volumes)
    source = image_copies.Source(**payload['image'])
    cursor = image_copies.Cursor(**payload.get('progress', {}))
    with driver.open_restore(backends.volume_ref(volume), _export_id(payload)) as device:
        if not whole:  # else the volume is as it was until the image is complete
            _begin_to_write(work)
        return image_copies.download(cloud.images(), source, device, cursor, zeroed=zeroed, keeps_extents=whole).plain()


def _begin_to_write(work: VolumeWork) -> None:
    """Record that data which the volume had before is about to be overwritten. Raises StateChanged."""
    if work.workflow is not workflows.VOLUME['download']:
        work.mark_writing()


def complete_download(payload: Payload) -> dict[str, Any]:
    """Make the written bytes the volume's data, set bootable and the image's metadata. Return the event for Nova."""
    work = VolumeWork.take(payload)
    volume, image = work.record, _image(work.record)
    _begin_to_write(work)
    written = [(start, end - start) for start, end in payload['progress'].get('written', [])]
    update = backends.driver(volume).complete_restore(backends.volume_ref(volume), _export_id(payload), lambda: written)
    servers = compute.servers_of(volume) if payload['action'] == 'reimage_reserved' else []
    described = [Volume.bootable.set(True), Volume.volume_image_metadata.set(images.described(image))]
    _end(work, [*described, *model_actions(update)])
    return compute.event('volume-reimaged', servers)


def _end(work: VolumeWork, actions: list[Any]) -> None:
    """Give the volume the status that its attachments left it, or available when it had no data before."""
    for _ in range(common.CONTENDED):
        before = work.record.previous_status
        final = states.AVAILABLE if before in states.WITHOUT_DATA else states.PREVIOUS
        try:
            return work.end(final, actions, Volume.previous_status == before)
        except errors.StateChanged:
            work = VolumeWork.take(work.payload)
    raise common.contended(work.record)


def fail_download(payload: Payload) -> None:
    """Set the volume to error with a user message; a reimaged one that was not written to keeps its status."""
    work = VolumeWork.take(payload)
    _try(work.record, lambda driver, ref: driver.cancel_restore(ref, _export_id(payload)))
    created = work.workflow is workflows.VOLUME['download']
    if created:
        work.report(Action.COPY_IMAGE_TO_VOLUME, Detail.UNKNOWN_ERROR)
    else:
        work.report(Action.REIMAGE_VOLUME, Detail.REIMAGE_VOLUME_FAILED)
    work.end(work.workflow.failed if created or work.has_written else states.PREVIOUS)


def upload_image(payload: Payload) -> None:
    """Give the image the volume's bytes, in one piece: Glance takes no other. One that has them is left as it is."""
    volume = VolumeWork.take(payload).record
    operation = volume.operation_facts()
    port, size = cloud.images(), int(volume.size) * GIB
    image = port.create(operation['image_id'], images.new_image(operation))
    if image.status == 'active':
        return
    if image.status != 'queued':
        raise errors.ServiceUnavailable(reason=f'image {image.id} is {image.status}: an earlier attempt is not over')
    with backends.driver(volume).open_volume(backends.volume_ref(volume), _export_id(payload), 'ro') as device:
        data = image_copies.Upload(device, size)
        port.upload(image.id, size, data)
    _verify(port.get(image.id), data)


def _verify(image: Image, data: image_copies.Upload) -> None:
    """Raise ImageCopyFailure unless Glance has what it was sent."""
    promised = image.digest if image.digest and image.digest[0] == data.algorithm else None
    if image.status != 'active' or image.size != data.size or (promised and promised[1] != data.digest):
        raise errors.ImageCopyFailure(
            reason=f'image {image.id} is {image.status} and has {image.size} of {data.size} bytes, or other ones'
        )


def complete_upload(payload: Payload) -> None:
    """End the export, protect the image if the request set ``protected``, and restore the volume's status."""
    volume = VolumeWork.take(payload).record
    operation = volume.operation_facts()
    backends.driver(volume).close_volume(backends.volume_ref(volume), _export_id(payload))
    if operation['protected']:
        cloud.images().protect(operation['image_id'])
    images.end_upload(volume, payload['request_id'])


def fail_upload(payload: Payload) -> None:
    """Delete the image, restore the volume's status, and write a user message with the reason."""
    work = VolumeWork.take(payload)
    volume = work.record
    _try(volume, lambda driver, ref: driver.close_volume(ref, _export_id(payload)))
    try:
        cloud.images().delete(volume.operation_facts()['image_id'])
    except (errors.ServiceUnavailable, errors.InvalidInput) as unreached:  # it is down, or no longer configured
        logger.warning('an unfinished image of volume %s is left: %s', volume.id, unreached.message)
    work.report(Action.COPY_VOLUME_TO_IMAGE, Detail.FAILED_TO_UPLOAD_VOLUME)
    images.end_upload(volume, payload['request_id'])


def _try(volume: Volume, close: Callable[[Driver, VolumeRef], None]) -> None:
    """Close an export; only log a driver's error: no host knows the export's secret, and it ends with the volume."""
    try:
        close(backends.driver(volume), backends.volume_ref(volume))
    except errors.DriverError as error:
        logger.warning('a path to volume %s is left: %s', volume.id, error.message)
