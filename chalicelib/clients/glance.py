"""Images of a Glance (Image API v2): read an image's description and bytes, create an image.

Data is read from and written to Glance's own URL. ``direct_url`` and ``locations``, which users may set, are ignored;
so is any reference inside the data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import urllib3

from chalicelib import errors
from chalicelib.clients.http import Service, Tokens

_CORE = (
    'id name status visibility protected os_hidden checksum os_hash_algo os_hash_value size virtual_size disk_format '
    'container_format min_disk min_ram owner created_at updated_at tags self file schema direct_url locations stores'
)

#: Glance's own fields of an image; all others are properties set by users.
CORE = frozenset(_CORE.split())

#: Seconds that Glance may take to answer after the last byte of an upload: it stores the data first.
STORE_TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """Glance's description of an image. ``size`` and ``virtual_size`` in bytes, ``min_disk`` in GiB."""

    id: str
    status: str
    name: str | None = None
    visibility: str = 'private'
    owner: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    virtual_size: int | None = None
    min_disk: int = 0
    min_ram: int = 0
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> tuple[str, str] | None:
        """(algorithm, hexadecimal digest) of the data: the secure hash, else the old MD5; None without either."""
        if self.os_hash_algo and self.os_hash_value:
            return self.os_hash_algo, self.os_hash_value
        return ('md5', self.checksum) if self.checksum else None


class Images:
    """The port. Every call raises ServiceUnavailable when Glance is down, slow or returns an unusable answer."""

    def __init__(self, url: str, tokens: Tokens) -> None:
        self._service = Service('The image service', url, tokens)

    def get(self, id: str) -> Image:
        """Return an image; raises ImageNotFound."""
        status, body = self._service.call('GET', _path(id), expected=(200, 403, 404))
        if status != 200:
            raise errors.ImageNotFound(id=id)
        return self._image(body)

    def is_shared_with(self, id: str, project_id: str) -> bool:
        """Whether the project is a member of a shared image; a pending member may use it, too."""
        path = f'{_path(id)}/members/{urllib.parse.quote(project_id, safe="")}'
        status, body = self._service.call('GET', path, expected=(200, 403, 404))
        return status == 200 and isinstance(body, dict) and body.get('status') in ('accepted', 'pending')

    @contextlib.contextmanager
    def data(self, id: str, offset: int = 0) -> Iterator[tuple[int, urllib3.BaseHTTPResponse]]:
        """Yield (position, stream) of the data: from ``offset``, or from the beginning when Glance ignores ranges.

        Reading raises ServiceUnavailable when the stream breaks off. Raises ImageNotFound.
        """
        headers = {'Accept': 'application/octet-stream', **({'Range': f'bytes={offset}-'} if offset else {})}
        with self._service.open('GET', f'{_path(id)}/file', headers=headers) as response:
            if response.status in (403, 404):
                raise errors.ImageNotFound(id=id)
            if response.status not in (200, 206):
                raise self._service.failed(f'answered with status {response.status} instead of the data of image {id}')
            yield (offset if response.status == 206 else 0), response

    def create(self, id: str, facts: Mapping[str, Any]) -> Image:
        """Create an image without data. Repeatable: an existing image of this id is returned. Raises InvalidInput."""
        status, body = self._service.call('POST', '/v2/images', {'id': id, **facts}, expected=(201, 400, 403, 409, 413))
        if status == 409:
            return self.get(id)
        if status != 201:
            raise errors.InvalidInput(reason=f'the image service refuses the image (status {status})')
        return self._image(body)

    def upload(self, id: str, size: int, data: Iterable[bytes]) -> None:
        """Upload the ``size`` bytes of an image, once. Raises ImageCopyFailure when Glance refuses them."""
        headers = {'Content-Type': 'application/octet-stream', 'Content-Length': str(size)}
        path = f'{_path(id)}/file'
        with self._service.stream('PUT', path, data, headers=headers, patience=STORE_TIMEOUT) as response:
            if response.status != 204:
                raise errors.ImageCopyFailure(
                    reason=f'the image service refused the data of image {id} with status {response.status}'
                )

    def protect(self, id: str) -> None:
        """Protect an image from deletion."""
        change = [{'op': 'replace', 'path': '/protected', 'value': True}]
        headers = {'Content-Type': 'application/openstack-images-v2.1-json-patch'}
        self._service.call('PATCH', _path(id), change, headers=headers)

    def delete(self, id: str) -> None:
        """Delete an image; a missing one is success."""
        self._service.call('DELETE', _path(id), expected=(204, 404))

    def _image(self, body: Any) -> Image:
        try:
            known = {field.name: body[field.name] for field in dataclasses.fields(Image) if field.name in body}
            properties = {key: value for key, value in body.items() if key not in CORE and isinstance(value, str)}
            return _checked(Image(**{**known, 'properties': properties}))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise self._service.failed('answered what is not an image') from None


def _path(id: str) -> str:
    return f'/v2/images/{urllib.parse.quote(id, safe="")}'


def _checked(image: Image) -> Image:
    """Return the image if the fields that are counted or compared have the right types; raises TypeError."""
    for value in image.size, image.virtual_size, image.min_disk, image.min_ram:
        if value is not None and (not isinstance(value, int) or value < 0):
            raise TypeError(value)
    for text in (image.id, image.status, image.visibility):
        if not isinstance(text, str):
            raise TypeError(text)
    for maybe in image.disk_format, image.container_format, image.checksum, image.os_hash_algo, image.os_hash_value:
        if maybe is not None and not isinstance(maybe, str):
            raise TypeError(maybe)
    return image
