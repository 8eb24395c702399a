"""The view of a volume that is uploaded to an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib.api.request import Request
from chalicelib.api.view import View, attribute, field
from chalicelib.api.views.volume_types import visible
from chalicelib.models import Volume
from chalicelib.operations import volume_types

if TYPE_CHECKING:
    from chalicelib.clients.glance import Image


class Uploaded(NamedTuple):
    """A volume and its new image."""

    volume: Volume
    image: Image
    protected: bool


def _volume_type(uploaded: Uploaded, request: Request) -> dict[str, Any] | None:
    """Return the whole type, as in Cinder's database; only administrators see extra specs that describe backends."""
    kind = volume_types.read_if_there(uploaded.volume.volume_type_id)
    if kind is None:
        return None
    return {
        'id': kind.id,
        'name': kind.name,
        'description': kind.description,
        'is_public': kind.is_public,
        'extra_specs': visible(kind.extra_specs, request),
        'qos_specs_id': kind.qos_specs_id,
        'created_at': kind.created_at,
        'updated_at': kind.updated_at,
        'deleted_at': None,
        'deleted': False,
    }


UPLOADED = View(
    field('id', lambda uploaded, request: uploaded.volume.id),
    field('updated_at', lambda uploaded, request: uploaded.volume.updated_at),
    field('status', lambda uploaded, request: uploaded.volume.status),
    field('display_description', lambda uploaded, request: uploaded.volume.description),
    field('size', lambda uploaded, request: int(uploaded.volume.size)),
    field('volume_type', _volume_type),
    field('image_id', lambda uploaded, request: uploaded.image.id),
    field('container_format', lambda uploaded, request: uploaded.image.container_format),
    field('disk_format', lambda uploaded, request: uploaded.image.disk_format),
    field('image_name', lambda uploaded, request: uploaded.image.name),
    attribute('protected', since='3.1'),
    field('visibility', lambda uploaded, request: uploaded.image.visibility, since='3.1'),
)
