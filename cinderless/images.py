"""The target of a restore on this machine: a new file, or a block special file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from chalicelib.backup.image import FileDevice
from chalicelib.errors import InvalidBackup


class Image(NamedTuple):
    """``zeroed``: the device reads as zeroes."""

    device: FileDevice
    zeroed: bool


@contextmanager
def opened(target: Path, size: int) -> Iterator[Image]:
    """Open a block special file, or a partial file of ``size`` bytes that becomes ``target`` at the end of the block.

    An existing file is never overwritten, and after an error no file is left. Raises InvalidBackup for one that exists,
    and for a block special file that is smaller than ``size``.
    """
    if target.exists() and stat.S_ISBLK(target.stat().st_mode):
        with FileDevice(target) as device:
            if device.size < size:
                raise InvalidBackup(reason=f'{target} has {device.size} bytes, the volume {size}: use a larger device')
            yield Image(device, zeroed=False)
        return
    if target.exists():
        raise InvalidBackup(reason=f'{target} exists: name a new file, or remove it')
    partial = target.with_name(target.name + '.partial')
    partial.unlink(missing_ok=True)
    try:
        with FileDevice(partial, size) as device:
            yield Image(device, zeroed=True)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
