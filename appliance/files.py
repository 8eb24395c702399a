"""Volumes as sparse files, a folder per pool.

On a file system with reflinks (XFS made with ``-m reflink=1``, btrfs) a copy is one FICLONE: the kernel locks the
source for its duration, so a snapshot of an attached volume is point-in-time consistent. Without reflinks a copy takes
time, and one of an attached volume would be inconsistent: the service refuses it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from appliance import extents
from appliance.errors import NotComparable
from appliance.names import Key
from appliance.store import NEW, TRASH, Medium, Object, translated

#: ``ioctl(target, FICLONE, source)``: _IOW(0x94, 9, int) of linux/fs.h.
FICLONE = 0x40049409

_COPY_STEP = 64 * 1024**2


class FileStore:
    flags = ''

    def __init__(self, root: Path, pools: list[str]) -> None:
        """Use, and create if necessary, a folder per pool in ``root``."""
        self._root = root
        for pool in pools:
            (root / pool).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.copies_attached = _has_reflinks(root)
        self._is_xfs = _file_system(root) == 'xfs'

    def path(self, key: Key) -> str:
        return str(self._file(key))

    def objects(self, pool: str) -> dict[str, Object]:
        with os.scandir(self._root / pool) as entries:
            files = [entry for entry in entries if '.' not in entry.name and entry.is_file(follow_symlinks=False)]
            stats = ((file.name, file.stat()) for file in files)
            return {name: Object(stat.st_size, stat.st_blocks * 512) for name, stat in stats}

    def size(self, key: Key) -> int | None:
        try:
            return self._file(key).stat().st_size
        except FileNotFoundError:
            return None

    def create(self, key: Key, size: int) -> None:
        with self._new_file(key) as new:
            os.ftruncate(new, size)

    def copy(self, source: Key, target: Key, size: int) -> None:
        with self._file(source).open('rb') as old, self._new_file(target) as new:
            if self.copies_attached:
                fcntl.ioctl(new, FICLONE, old.fileno())
            else:
                _copy_data(old.fileno(), new)
            os.ftruncate(new, max(size, os.fstat(new).st_size))

    def compares(self) -> bool:
        """Of btrfs, which moves blocks at any time, and of others nothing is known."""
        return self.copies_attached and self._is_xfs

    def exclusive(self, key: Key) -> int:
        with translated(f'{key} cannot be measured'), self._file(key).open('rb') as file:
            return extents.exclusive(file.fileno(), os.fstat(file.fileno()).st_size) if self.compares() else 0

    def changes(self, new: Key, old: Key, start: int, stop: int) -> Iterator[tuple[int, int]]:
        if not self.compares():
            raise NotComparable('this file system shares no blocks, or is not XFS')
        with translated(f'{new} cannot be compared with {old}'), self._file(new).open('rb') as one:  # noqa: SIM117 - 3.9
            with self._file(old).open('rb') as other:
                yield from extents.differences(one.fileno(), other.fileno(), start, stop)

    def flush(self, key: Key) -> None:
        with translated(f'{key} cannot be written back'), self._file(key).open('rb') as file:
            os.fsync(file.fileno())

    def grow(self, key: Key, size: int) -> None:
        with translated(f'{key} cannot grow'), self._file(key).open('r+b') as file:
            os.ftruncate(file.fileno(), max(size, os.fstat(file.fileno()).st_size))
            os.fsync(file.fileno())

    def rename(self, key: Key, name: str) -> None:
        with translated(f'{key} cannot be renamed'):
            self._file(key).rename(self._file(Key(key.pool, name)))
            self._sync_folder(key.pool)

    def delete(self, key: Key) -> None:
        """Rename first: freeing a large file takes time."""
        trash = self._file(key, TRASH)
        with translated(f'{key} cannot be deleted'):
            with contextlib.suppress(FileNotFoundError):
                self._file(key).rename(trash)
                self._sync_folder(key.pool)
            trash.unlink(missing_ok=True)

    def recover(self) -> None:
        """Delete new files, which are incomplete or unreported, and trash, which was deleted."""
        for suffix in (NEW, TRASH):
            for path in self._root.glob(f'*/*{suffix}'):
                path.unlink()

    def medium(self) -> Medium:
        stat = os.statvfs(self._root)
        return Medium(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize)

    def close(self) -> None:
        """Nothing to release."""

    @contextlib.contextmanager
    def _new_file(self, key: Key) -> Iterator[int]:
        """Yield a file to fill; it is renamed once it is complete and durable, and removed on an error."""
        path, new = self._file(key), self._file(key, NEW)
        with translated(f'{key} cannot be written'):
            file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                yield file
                os.fsync(file)
                new.rename(path)
                self._sync_folder(key.pool)
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            finally:
                os.close(file)

    def _file(self, key: Key, suffix: str = '') -> Path:
        return self._root / key.pool / (key.name + suffix)

    def _sync_folder(self, pool: str) -> None:
        sync_folder(self._root / pool)


def sync_folder(path: Path) -> None:
    """Make renames and removals in a folder durable."""
    sync(path, os.O_DIRECTORY)


def put_in_place(new: Path, path: Path) -> None:
    """Give a complete file its name: after a power cut the name has the whole new file, or the file before it."""
    sync(new)
    new.replace(path)
    sync_folder(path.parent)


def sync(path: Path, flags: int = 0) -> None:
    """Return when a file or folder is on the disk."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _has_reflinks(root: Path) -> bool:
    """Try one reflink."""
    old, new = root / f'probe{TRASH}', root / f'probe{NEW}'
    try:
        old.write_bytes(bytes(4096))
        with old.open('rb') as source, new.open('wb') as target:
            fcntl.ioctl(target.fileno(), FICLONE, source.fileno())
        return True
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.EXDEV, errno.ENOSYS):
            return False
        raise
    finally:
        for path in (old, new):
            path.unlink(missing_ok=True)


def _file_system(root: Path) -> str:
    """Return the kind of the file system that holds a folder; '' for one whose device no mount has (btrfs)."""
    device = root.stat().st_dev
    number = f'{os.major(device)}:{os.minor(device)}'
    for line in Path('/proc/self/mountinfo').read_text().splitlines():
        mount, _, source = line.partition(' - ')
        if mount.split()[2] == number:
            return source.split()[0]
    return ''


def _copy_data(old: int, new: int) -> None:
    """Copy allocated ranges; holes stay holes. Nothing writes to the source at the same time."""
    end = os.fstat(old).st_size
    for offset, length in _data_ranges(old, end):
        done = 0
        while done < length:
            step = min(_COPY_STEP, length - done)
            done += os.copy_file_range(old, new, step, offset + done, offset + done) or _truncated(offset)
    os.ftruncate(new, end)


def _truncated(offset: int) -> int:
    raise OSError(errno.EIO, f'the source ended while it was copied, after byte {offset}')


def _data_ranges(file: int, end: int) -> Iterator[tuple[int, int]]:
    offset = 0
    while offset < end:
        try:
            start = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole up to the end
                return
            raise
        offset = os.lseek(file, start, os.SEEK_HOLE)
        yield start, offset - start
