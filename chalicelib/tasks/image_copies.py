"""The bytes between images and opened volumes: streamed in bounded memory, hashed on the way, cheap where zero."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

from chalicelib import errors
from chalicelib.clients import digest
from chalicelib.clients.glance import Images
from chalicelib.device import BlockDevice, Extent
from chalicelib.tasks import function_time

#: Bytes read at once, and so what a copy holds in memory, a few times over. A multiple of every block size.
CHUNK = 8 * 1024**2

#: Bytes that are written, or not, as one: what is all zero is not sent.
PIECE = 64 * 1024

#: Most written extents that the cursor lists for a device that needs the list. Beyond it, zeroes are written too: more
#: extents would not fit into the workflow's payload.
MOST_GAPS = 1000

#: Bytes behind an image that are cleared between two looks at the clock.
STRETCH = 1024**3

_ZERO = bytes(CHUNK)


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """The image as it was when the copy began. ``size`` in bytes."""

    id: str
    size: int
    algorithm: str
    digest: str


@dataclasses.dataclass(slots=True)
class Cursor:
    """How far a copy got: bytes that are on the volume, and the state of the hash over them ('': none).

    ``written``: [first byte, byte after the last] of each extent that was written, if the device needs the list.
    """

    offset: int = 0
    hash: str = ''
    done: bool = False
    written: list[list[int]] = dataclasses.field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def download(
    images: Images, source: Source, device: BlockDevice, cursor: Cursor, *, zeroed: bool, keeps_extents: bool = False
) -> Cursor:
    """Copy an image from the cursor on until it is whole, verified, and zeroes follow it, or time runs short.

    ``zeroed``: the volume surely reads as zeroes where nothing was written. ``keeps_extents``: the cursor lists the
    written extents. The next call continues a stream that breaks off if anything of it arrived. Raises ImageCopyFailure
    for bytes that are not the image's.
    """
    if cursor.offset < source.size:
        cursor = _copied(images, source, device, cursor, zeroed=zeroed, keeps_extents=keeps_extents)
    if cursor.offset >= source.size:
        cursor = _cleared(device, cursor, zeroed=zeroed)
    device.flush()
    return cursor


def _copied(
    images: Images, source: Source, device: BlockDevice, cursor: Cursor, *, zeroed: bool, keeps_extents: bool
) -> Cursor:
    """Copy whole chunks while there is time; a hash without a state starts again at the image's first byte."""
    hash_ = digest.begin(source.algorithm, cursor.hash)
    hashed, written = cursor.offset if cursor.hash else 0, cursor.offset
    runs = [list(run) for run in cursor.written]
    try:
        for position, chunk in _chunks(images, source, hashed):
            if position >= hashed:
                hash_.update(chunk)
            if position >= written:
                extents = _write(device, position, chunk, zeroed=zeroed, dense=len(runs) > MOST_GAPS)
                if keeps_extents:
                    _add_runs(runs, extents)
                written = position + len(chunk)
            if cursor.offset < written < source.size and not function_time.has_time():
                break
    except errors.ServiceUnavailable:
        if written == cursor.offset:
            raise
    if written < source.size:
        return Cursor(written, hash_.state(), written=runs)
    _verify(source, hash_)
    return Cursor(-(-written // device.block_size) * device.block_size, written=runs)


def _add_runs(runs: list[list[int]], extents: list[Extent]) -> None:
    """Add extents to the stretches before them."""
    for offset, data in extents:
        if runs and runs[-1][1] == offset:
            runs[-1][1] += len(data)
        else:
            runs.append([offset, offset + len(data)])


def _chunks(images: Images, source: Source, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield (position, bytes) from ``start`` on, or from the front, to the image's end: whole chunks but for the last.

    Raises ServiceUnavailable when the stream ends before the image does, and ImageCopyFailure when it is longer.
    """
    with images.data(source.id, start) as (position, stream):
        while position < source.size:
            chunk = stream.read(CHUNK)
            if len(chunk) < min(CHUNK, source.size - position):
                raise errors.ServiceUnavailable(reason=f'the data of image {source.id} broke off at {position}')
            if position + len(chunk) > source.size:
                raise errors.ImageCopyFailure(reason=f'image {source.id} has more than its {source.size} bytes')
            yield position, chunk
            position += len(chunk)


def _verify(source: Source, hash_: digest.Digest) -> None:
    if hash_.hexdigest() != source.digest.lower():
        raise errors.ImageCopyFailure(
            reason=f'the data of image {source.id} does not match its {source.algorithm} checksum'
        )


def _write(device: BlockDevice, offset: int, chunk: bytes, *, zeroed: bool, dense: bool = False) -> list[Extent]:
    """Write what is not zero (``dense``: all), and make the rest read as zeroes unless it surely does."""
    if len(chunk) % device.block_size:
        chunk += bytes(-len(chunk) % device.block_size)
    everything: tuple[list[tuple[int, int]], list[Extent]] = ([], [(offset, memoryview(chunk))])
    zeroes, extents = everything if dense else _sorted_out(offset, chunk, max(PIECE, device.block_size))
    if not zeroed:
        for place, length in zeroes:
            device.zero(place, length)
    device.write_many(extents)
    return extents


def _sorted_out(offset: int, chunk: bytes, size: int) -> tuple[list[tuple[int, int]], list[Extent]]:
    """Cut a chunk into pieces of ``size`` bytes: runs of zeroes, (offset, length), and pieces with data."""
    zeroes: list[tuple[int, int]] = []
    extents: list[Extent] = []
    view = memoryview(chunk)
    for start in range(0, len(chunk), size):
        piece = chunk[start : start + size]
        if piece != _ZERO[: len(piece)]:
            extents.append((offset + start, view[start : start + size]))
        elif zeroes and sum(zeroes[-1]) == offset + start:
            zeroes[-1] = (zeroes[-1][0], zeroes[-1][1] + len(piece))
        else:
            zeroes.append((offset + start, len(piece)))
    return zeroes, extents


def _cleared(device: BlockDevice, cursor: Cursor, *, zeroed: bool) -> Cursor:
    """Zero the allocated bytes behind the image while there is time: they may hold another volume's old data."""
    offset = device.size if zeroed else cursor.offset
    while offset < device.size and function_time.has_time():
        length = min(STRETCH, device.size - offset)
        for place, extent in list(device.allocated(offset, length)):
            device.zero(place, extent)
        offset += length
    return Cursor(offset, '', offset >= device.size, cursor.written)


class Upload:
    """A volume's bytes as an image is given them; ``digest`` is of what was handed out."""

    #: Glance's own default for os_hash_algo.
    algorithm = 'sha512'

    def __init__(self, device: BlockDevice, size: int) -> None:
        self._device, self.size = device, size
        self._hash = hashlib.new(self.algorithm)

    def __iter__(self) -> Iterator[bytes]:
        """All bytes, once. Raises ImageCopyFailure when the function's time is too short for them."""
        for offset in range(0, self.size, CHUNK):
            if not function_time.has_time():
                raise errors.ImageCopyFailure(
                    reason=f'{offset} of {self.size} bytes were sent in the time that there is, and Glance takes an '
                    'image in one piece only; make a smaller volume of what is needed, and upload that'
                )
            chunk = self._chunk(offset, min(CHUNK, self.size - offset))
            self._hash.update(chunk)
            yield chunk

    def _chunk(self, offset: int, length: int) -> bytes:
        chunk = bytearray(length)
        for place, data in self._device.read_many(list(self._device.allocated(offset, length))):
            chunk[place - offset : place - offset + len(data)] = data
        return bytes(chunk)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()
