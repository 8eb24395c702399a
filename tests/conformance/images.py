"""An image service for which every id is an image that can be used, as the facts were measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.clients.glance import Image


class AnyImages:
    """In the place of Glance's port, where only what the API answers counts."""

    def get(self, id: str) -> Image:
        return Image(
            id, 'active', visibility='public', disk_format='raw', container_format='bare', size=1, checksum='0' * 32
        )

    def create(self, id: str, facts: Mapping[str, Any]) -> Image:
        known = {name: facts[name] for name in ('name', 'visibility', 'owner', 'disk_format', 'container_format')}
        return Image(id, 'queued', **known)
