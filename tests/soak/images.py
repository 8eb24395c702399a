"""The works of a tenant with Glance: volumes from images, and images of volumes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tests.soak.expected import Blocks, Expected
from tests.soak.systems import TYPES
from tests.soak.tenants import MOST_VOLUMES, PLACES, Tenant, Work
from tests.system.clients import unique
from tests.system.crash import BLOCK, pattern

#: One upload at once: the Glance of a test keeps images in memory.
_UPLOAD = threading.Lock()


def create(tenant: Tenant) -> None:
    """Create a volume from an image, of any type."""
    if len(tenant.live()) >= MOST_VOLUMES:
        return
    image, blocks = _image(tenant)
    user, (kind, (_, facts)) = tenant.draw.choice(tenant.users), tenant.draw.choice(list(TYPES.items()))
    volumes = user.cinder.volumes
    tenant.make(
        'volumes',
        Expected(user, {1}, blocks),
        lambda name: volumes.create(1, name=name, imageRef=image, volume_type=kind, **facts),
        called=f'volumes from an image ({kind})',
    )


def reimage(tenant: Tenant) -> None:
    """Replace a volume's data by an image's: a failed one leaves a part of it, and the status ``error``."""
    id, one = tenant.volume()
    image, blocks = _image(tenant)
    one.merge(blocks)
    tenant.post('reimage', one.user, lambda: one.user.cinder.volumes.reimage(id, image))
    if tenant.settled(one.user.cinder.volumes, id).status == 'available':
        tenant.settle_data(id, one)


def upload(tenant: Tenant) -> None:
    """Make an image of a volume, and compare its bytes."""
    id, one = tenant.volume()
    if one.sizes != {1} or not _UPLOAD.acquire(blocking=False):
        return
    try:
        _forget_uploads(tenant)
        _upload(tenant, id, one)
    finally:
        _UPLOAD.release()


def _upload(tenant: Tenant, id: str, one: Expected) -> None:
    volumes, glance = one.user.cinder.volumes, tenant.systems.glance
    name = unique('soak')
    tenant.post('upload', one.user, lambda: volumes.upload_to_image(id, False, name, 'bare', 'raw', 'private', False))
    if tenant.settled(volumes, id).status != 'available':
        return
    for image, facts in list(glance.images.items()):
        if facts['name'] == name and facts['status'] == 'active':
            data = glance.data[image]
            tenant.compare(id, one, lambda offset, length, data=data: data[offset : offset + length])


def _forget_uploads(tenant: Tenant) -> None:
    """Delete the images of earlier uploads, which memory would not hold for an hour."""
    glance = tenant.systems.glance
    for image, facts in list(glance.images.items()):
        if facts['status'] == 'active' and facts['size'] > PLACES * BLOCK:
            del glance.images[image], glance.data[image]


def _image(tenant: Tenant) -> tuple[str, Blocks]:
    """Add an image with numbered blocks to Glance; return its id, and what a volume of it has."""
    blocks = {place: {next(tenant.values)} for place in range(PLACES) if tenant.draw.random() < 0.3}
    data = bytearray(PLACES * BLOCK)
    for place, (value,) in blocks.items():
        data[place * BLOCK : (place + 1) * BLOCK] = pattern(value)
    return tenant.systems.glance.add(bytes(data)), blocks


#: Work -> its share.
WORKS: Sequence[tuple[Work, int]] = ((create, 2), (reimage, 1), (upload, 1))
