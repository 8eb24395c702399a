"""Real block devices and real file systems for tests: loop devices over image files, mounts of XFS, ext4 and tmpfs.

They need root, as tgtd does; without it, or without loop devices, a test fails and is not skipped. Each is released
when its block ends, however it ends. A loop device is detached while it is held open, so the kernel releases it with
the last descriptor even if the process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: mkfs.xfs rejects smaller images.
XFS_SIZE = 300 << 20

#: Nothing of ext4 is reserved for root, so that it gets full.
_MKFS = {'xfs': ('mkfs.xfs', '-q', '-m', 'reflink=1'), 'ext4': ('mkfs.ext4', '-q', '-m', '0')}


@contextlib.contextmanager
def loop_device(image: Path, *, read_only: bool = False, sector_size: int = 512) -> Iterator[Path]:
    """Attach an image file to a free loop device and yield its path (/dev/loopN)."""
    command = ['losetup', '--find', '--show', '--sector-size', str(sector_size)]
    device = Path(_run(*command, *(['--read-only'] if read_only else []), str(image)).strip())
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _run('losetup', '--detach', str(device))
        yield device
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def mounted(source: Path | str, folder: Path, *options: str) -> Iterator[Path]:
    """Mount a device, an image file or a kind of file system that has none (tmpfs) on a new folder; yield it."""
    folder.mkdir()
    _run('mount', *options, str(source), str(folder))
    try:
        yield folder
    finally:
        _run('umount', '--lazy', str(folder))


@contextlib.contextmanager
def file_system(kind: str, folder: Path, size: int) -> Iterator[Path]:
    """Mount an empty file system of ``size`` bytes on ``folder``, which must not exist yet.

    XFS has XFS_SIZE. ramfs has no limit, and supports neither holes nor fallocate(2).
    """
    if kind in ('tmpfs', 'ramfs'):
        with mounted(kind, folder, '-t', kind, '-o', f'size={size}') as mount:
            yield mount
        return
    image = folder.with_name(f'{folder.name}.{kind}')
    with image.open('wb') as file:
        file.truncate(XFS_SIZE if kind == 'xfs' else size)
    make_file_system(kind, image)
    try:
        with mounted(image, folder, '-o', 'loop') as mount:
            yield mount
    finally:
        image.unlink()


def make_file_system(kind: str, image: Path) -> None:
    _run(*_MKFS[kind], str(image))


def fill(folder: Path) -> None:
    """Write a file until the file system that holds ``folder`` has no space for one more block of 4 KiB."""
    with (folder / 'ballast').open('ab', buffering=0) as file:
        for size in (1 << 20, 4096):
            full = False
            while not full:
                full = not _has_space(file.fileno(), size)


def _has_space(descriptor: int, size: int) -> bool:
    try:
        written = os.write(descriptor, b'\xff' * size)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise
    return written == size


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
