"""Uploads of volumes to images, as the requests that end one see them; ``images`` accepts them."""

from __future__ import annotations

import logging

from chalicelib import errors
from chalicelib.models import Volume
from chalicelib.operations import cloud
from chalicelib.rules import states

logger = logging.getLogger(__name__)


def abandon(volume: Volume) -> None:
    """Delete the unfinished image of a volume under upload whose status another request is about to change.

    It is called before that request's write: a process that dies between leaves an upload that makes the image again.
    """
    image_id = (volume.operation or {}).get('image_id') if volume.status == states.UPLOADING else None
    if image_id is None:  # an administrator may have set the status
        return
    try:
        image = cloud.images().get(image_id)
        if image.status != 'active':
            cloud.images().delete(image.id)
    except errors.ImageNotFound:
        return
    except (errors.ServiceUnavailable, errors.InvalidInput) as unreached:  # it is down, or no longer configured
        logger.warning('an unfinished image of volume %s is left: %s', volume.id, unreached.message)
