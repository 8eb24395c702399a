"""Images in memory, in the place of Glance: what the service needs of it, call by call."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

from chalicelib import errors
from chalicelib.clients.glance import Image
from tests.simulation import Simulation


class MemoryImages:
    """The port of ``chalicelib.clients.glance``. Every call passes the simulation's ``around``."""

    def __init__(self, simulation: Simulation) -> None:
        self._world = simulation
        self.images: dict[str, Image] = {}
        self.bytes: dict[str, bytes] = {}

    def get(self, id: str) -> Image:
        if id not in self.images:
            raise errors.ImageNotFound(id=id)
        return self.images[id]

    def is_shared_with(self, id: str, project_id: str) -> bool:
        return False

    def create(self, id: str, facts: dict[str, Any]) -> Image:
        with self._world.around('glance create'):
            known = {name: facts[name] for name in ('name', 'visibility', 'owner', 'disk_format', 'container_format')}
            return self.images.setdefault(id, Image(id, 'queued', **known))

    def upload(self, id: str, size: int, data: Iterable[bytes]) -> None:
        with self._world.around('glance upload'):
            content = b''.join(data)
            facts = {'size': size, 'os_hash_algo': 'sha512', 'os_hash_value': hashlib.sha512(content).hexdigest()}
            self.bytes[id] = content
            self.images[id] = dataclasses.replace(self.images[id], status='active', **facts)

    def delete(self, id: str) -> None:
        with self._world.around('glance delete'):
            self.images.pop(id, None)
            self.bytes.pop(id, None)

    def protect(self, id: str) -> None:
        """No image of the model is protected."""

    @contextlib.contextmanager
    def data(self, id: str, offset: int = 0) -> Iterator[tuple[int, io.BytesIO]]:
        yield offset, io.BytesIO(self.bytes[id][offset:])
