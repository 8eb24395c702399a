"""Images: which one a volume may be made from or overwritten with, and volumes that become images.

Only raw data in no container: it is copied and never looked into, since backing files, data files and descriptors
inside other formats are how Cinder was attacked (CVE-2022-47951, CVE-2024-32498). The service user's token sees every
image, so this module checks access to an image, by the rules of Glance.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.clients import digest
from chalicelib.clients.glance import CORE, Image
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Volume, base
from chalicelib.operations import cloud, common, exports, idempotency, uploads
from chalicelib.rules import bounds, workflows

GIB = 1024**3

#: What can be copied as it is.
DISK_FORMAT, CONTAINER_FORMAT = 'raw', 'bare'

#: Visibilities of images that all projects may use.
OPEN = ('public', 'community')

#: What of an image Cinder keeps with the volume, beside its id, name and properties.
KEPT = ('checksum', 'container_format', 'disk_format', 'min_disk', 'min_ram', 'size')

#: What is known of a volume's image that is not a property of the image.
NO_PROPERTIES = frozenset({*KEPT, 'image_id', 'image_name', 'signature_verified'})

HOW_TO_CONVERT = 'Convert it first, outside: qemu-img convert -O raw'


def usable(context: Context, id: str, size: int) -> Image:
    """Return an image that a volume of ``size`` GiB may be filled with.

    Raises ImageNotFound (another project's, too), InvalidInput (not active, too big), ImageUnacceptable, or
    AttributeTooLarge (more properties than a volume's record keeps).
    """
    image = cloud.images().get(id)
    if not _is_visible(context, image):
        raise errors.ImageNotFound(id=id)
    if image.status != 'active':
        raise errors.InvalidInput(reason=f'Image {id} is not active.')
    check(image)
    _check_fits(image, size)
    bounds.check('volume', 'volume_image_metadata', described(image))
    return image


def _is_visible(context: Context, image: Image) -> bool:
    if context.is_admin or image.visibility in OPEN or image.owner == context.project_id:
        return True
    return image.visibility == 'shared' and cloud.images().is_shared_with(image.id, context.project_id)


def check(image: Image) -> None:
    """Raise ImageUnacceptable for an image that cannot be copied as it is, or not be verified."""
    formats = (image.disk_format, image.container_format)
    if formats != (DISK_FORMAT, CONTAINER_FORMAT):
        raise errors.ImageUnacceptable(
            id=image.id,
            reason=f'its formats are disk_format {image.disk_format} and container_format {image.container_format}, '
            f'and only {DISK_FORMAT} in {CONTAINER_FORMAT} is copied to volumes here. {HOW_TO_CONVERT}.',
        )
    if not image.size:
        raise errors.ImageUnacceptable(id=image.id, reason='it has no data.')
    if image.digest is None or image.digest[0] not in digest.ALGORITHMS:
        raise errors.ImageUnacceptable(id=image.id, reason='it has no checksum that its data can be verified by.')


def _check_limit(gigabytes: int) -> None:
    """Raise InvalidInput for an image beyond the deployment's limit."""
    most = settings().max_image_gigabytes
    if most and gigabytes > most:
        raise errors.InvalidInput(reason=f'The image has {gigabytes} GiB, and at most {most} GiB are allowed here.')


def _check_fits(image: Image, size: int) -> None:
    needed = -(-max(image.size or 0, image.virtual_size or 0) // GIB)
    _check_limit(needed)
    if needed > size:
        raise errors.InvalidInput(reason=f'Size of specified image {needed}GB is larger than volume size {size}GB.')
    if image.min_disk > size:
        raise errors.InvalidInput(
            reason=f'Volume size {size}GB cannot be smaller than the image minDisk size {image.min_disk}GB.'
        )


def described(image: Image) -> dict[str, str]:
    """What of an image is kept with the volume that has its data (Cinder's volume_image_metadata)."""
    known = {'image_id': image.id, **({'image_name': image.name} if image.name else {})}
    facts = {name: str(getattr(image, name)) for name in KEPT if getattr(image, name) is not None}
    return {**known, **facts, 'signature_verified': 'False', **image.properties}


def reimage(context: Context, volume_id: str, image_id: str, *, reserved: bool) -> None:
    """Accept to overwrite a volume with an image. ``reserved``: one that a server waits for may be taken, too.

    Raises Conflict for a volume of several attachments, and for one that a host is connected to: its data would change
    under that host.
    """
    volume = common.find(context, Volume, volume_id)
    action = 'reimage_reserved' if reserved else 'reimage'
    row = workflows.VOLUME[action]
    if len(volume.attachments) > 1:
        raise errors.Conflict(f'Volume {volume.id} has more than one attachment and cannot be reimaged.')
    _check_status(volume, row)
    usable(context, image_id, int(volume.size))
    if volume.exports:
        volume = exports.end(volume, volume.exports)
    if not exports.are_unused(volume):
        raise errors.Conflict(f'Volume {volume.id} is connected to a host and cannot be reimaged; detach it first.')
    operation = common.operation(row, image_id=image_id)
    try:
        also = volume.end_of_move()
        base.begin(volume, row, context.request_id, operation, also=also, condition=exports.unchanged(volume))
    except errors.StateChanged:
        raise _wrong_status(volume.reload(), row) from None
    common.send(context, action, volume)


def upload(
    context: Context,
    volume_id: str,
    *,
    name: str,
    disk_format: str,
    container_format: str,
    visibility: str,
    protected: bool,
) -> tuple[Volume, Image]:
    """Accept to copy a volume to a new image; return both. The image is the caller's project's."""
    volume = common.find(context, Volume, volume_id)
    row = workflows.VOLUME['upload']
    kept = idempotency.kept()
    if kept is not None:
        return volume, _uploaded(volume, kept['image_id'])
    _check_status(volume, row)
    _check_formats(disk_format, container_format)
    _check_limit(int(volume.size))
    port = cloud.images()
    image_id = str(uuid.uuid4())
    facts = {**_properties(volume), 'name': name, 'visibility': visibility, 'owner': context.project_id}
    operation = common.operation(row, image_id=image_id, image=facts, protected=protected)
    idempotency.keep(image_id=image_id)
    try:
        base.begin(volume, row, context.request_id, operation, also=volume.end_of_move())
    except errors.StateChanged:
        raise _wrong_status(volume.reload(), row) from None
    try:
        image = port.create(image_id, new_image(operation))
    except errors.CinderlessError:
        uploads.abandon(volume)  # Glance may have made it, and its answer is lost
        end_upload(volume, context.request_id)
        idempotency.undo()
        raise
    common.send(context, 'upload', volume)
    return volume, image


def _uploaded(volume: Volume, image_id: str) -> Image:
    """The image of an upload that was accepted before; it is made here if the first request died before that."""
    operation = volume.operation or {}
    if operation.get('image_id') == image_id:
        return cloud.images().create(image_id, new_image(operation))
    return cloud.images().get(image_id)


def new_image(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the image that an upload creates in Glance. It is protected once it is whole."""
    return {**operation['image'], 'disk_format': DISK_FORMAT, 'container_format': CONTAINER_FORMAT}


def end_upload(volume: Volume, request_id: str) -> None:
    """Restore the status of a volume under upload, unless another request owns it by now."""
    row = workflows.VOLUME['upload']
    with contextlib.suppress(*base.moved_on(Volume)):
        base.update(volume, base.end_actions(volume, row.failed), base.owned_by(Volume, row, request_id))


def _properties(volume: Volume) -> dict[str, Any]:
    """What the volume's own image was known by, so that the new one is booted the same way.

    Users write this metadata, and the image is made under the service's token: nothing of it may name an owner, a
    location or anything else that Glance itself knows of an image.
    """
    known = volume.volume_image_metadata
    counted = {key: int(known[key]) for key in ('min_disk', 'min_ram') if str(known.get(key, '')).isdigit()}
    return {**{key: value for key, value in known.items() if _is_property(key)}, **counted}


def _is_property(key: str) -> bool:
    return key not in CORE | NO_PROPERTIES and not key.startswith('os_glance')


def _check_formats(disk_format: str, container_format: str) -> None:
    if (disk_format, container_format) != (DISK_FORMAT, CONTAINER_FORMAT):
        raise errors.InvalidInput(
            reason=f'A volume becomes an image of disk_format {DISK_FORMAT} in container_format {CONTAINER_FORMAT}, '
            f'not of {disk_format} in {container_format}. Convert the image afterwards: qemu-img convert.'
        )


def _check_status(volume: Volume, row: workflows.Workflow) -> None:
    if volume.status not in row.allowed:
        raise _wrong_status(volume, row)


def _wrong_status(volume: Volume, row: workflows.Workflow) -> errors.InvalidVolume:
    allowed = ' or '.join(sorted(row.allowed))
    now = '' if row is workflows.VOLUME['upload'] else f', but current status is {volume.status}.'
    return errors.InvalidVolume(reason=f'Volume {volume.id} status must be {allowed}{now}')
