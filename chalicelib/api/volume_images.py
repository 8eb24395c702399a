"""Volumes and images: upload one to the other, and overwrite one with the other."""

from __future__ import annotations

from typing import Any

from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.schemas import volumes as schemas
from chalicelib.api.views import volume_images as views
from chalicelib.api.volumes import volumes
from chalicelib.operations import volumes as volume_operations
from chalicelib.rules.policies import authorize

ACTION = 'volume_extension:volume_actions'


@volumes.action('os-volume_upload_image', policy=f'{ACTION}:upload_image', schema=schemas.UPLOAD_IMAGE, until='3.0')
@volumes.action(
    'os-volume_upload_image', policy=f'{ACTION}:upload_image', schema=schemas.UPLOAD_IMAGE_SEEN_BY, since='3.1'
)
def upload_image(request: Request, id: str) -> dict[str, Any]:
    """Copy the volume to a new image. ``force`` is ignored: an attached volume is refused, as in Cinder by default."""
    from chalicelib.operations import images as operations  # imports Glance's client, which few requests need

    body = request.body
    visibility = body.get('visibility', 'private')
    if visibility == 'public':
        authorize(request.context, f'{ACTION}:upload_public')
    volume, image = operations.upload(
        request.context,
        id,
        name=body['image_name'],
        disk_format=body.get('disk_format', 'raw'),
        container_format=body.get('container_format') or 'bare',
        visibility=visibility,
        protected=p.is_yes(body.get('protected', False)),
    )
    shown = views.UPLOADED.of(request)(views.Uploaded(volume, image, protected=p.is_yes(body.get('protected', False))))
    return {'os-volume_upload_image': shown}


@volumes.action('os-reimage', policy='volume:reimage', schema=schemas.REIMAGE, since='3.68')
def reimage(request: Request, id: str) -> None:
    from chalicelib.operations import images as operations

    reserved = p.is_yes(request.body.get('reimage_reserved', False))
    if reserved:
        authorize(request.context, 'volume:reimage_reserved', find=lambda: volume_operations.get(request.context, id))
    operations.reimage(request.context, id, request.body['image_id'], reserved=reserved)
