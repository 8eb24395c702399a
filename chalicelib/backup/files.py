"""A repository in a folder, one file per object: for tests, benchmarks and the offline tool."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from chalicelib.backup.repository import Content, Data, ObjectInfo
from chalicelib.errors import ObjectExists, ObjectMissing, RepositoryError

_KEY = re.compile(r'[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*')

#: The folder of objects that are not complete yet. Its dot keeps it out of keys and listings.
_STAGING = '.staging'


class FileRepository:
    """Objects as files below ``root``. The first put creates it; reading needs no right to write.

    Safe for several processes on one file system.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        self._staging = self._root / _STAGING

    def put(self, key: str, data: Data, *, if_none_match: bool = False) -> None:
        """Write and sync a staged file, then rename it: a crash leaves the complete object or none."""
        target = self._path(key)
        staged = self._staging / uuid.uuid4().hex
        with _translated(key):
            try:
                _make_folder(self._staging)
                _write(staged, data)
                _make_folder(target.parent)
                _publish(staged, target, if_none_match)
                _sync(target.parent)
            finally:
                staged.unlink(missing_ok=True)

    def get(self, key: str, start: int = 0, length: int | None = None) -> Content:
        with _translated(key):
            descriptor = os.open(self._path(key), os.O_RDONLY)
            try:
                size = os.fstat(descriptor).st_size
                wanted = max(0, size - start) if length is None else length
                return Content(_read(descriptor, start, wanted), size)
            finally:
                os.close(descriptor)

    def head(self, key: str) -> ObjectInfo:
        with _translated(key):
            status = self._path(key).stat()
            return ObjectInfo(key, status.st_size, status.st_mtime)

    def list(self, prefix: str, start_after: str = '') -> Iterator[ObjectInfo]:
        with _translated(prefix):
            yield from self._walk('', prefix, start_after)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with _translated(key):
                self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise RepositoryError(key=key, reason='it is not a key')
        return self._root / key

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[ObjectInfo]:
        """Sort folders with their slash, as the keys in them sort, and skip those that cannot match."""
        for name in _names(self._root / folder):
            key = folder + name
            if not (key.startswith(prefix) or prefix.startswith(key)) or _below(key, start_after):
                continue
            if key.endswith('/'):
                yield from self._walk(key, prefix, start_after)
            elif key.startswith(prefix):
                with contextlib.suppress(ObjectMissing):  # deleted since the folder was read
                    yield self.head(key)


def _below(key: str, start_after: str) -> bool:
    """Whether neither ``key`` nor, if it is a folder's, any key in it comes after ``start_after``."""
    return key <= start_after and not (key.endswith('/') and start_after.startswith(key))


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name + '/' * entry.is_dir() for entry in entries if not entry.name.startswith('.')]
    except FileNotFoundError:
        return []
    return sorted(names)


@contextlib.contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(key=key) from error
    except FileExistsError as error:
        raise ObjectExists(key=key) from error
    except OSError as error:
        raise RepositoryError(key=key, reason=error.strerror or str(error)) from error


def _write(path: Path, data: Data) -> None:
    with path.open('xb', buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def _read(descriptor: int, start: int, length: int) -> bytes:
    """A read returns at most 2 GiB - 4 KiB: objects are far smaller, so one is enough."""
    return os.pread(descriptor, length, start)


def _publish(staged: Path, target: Path, if_none_match: bool) -> None:
    """Publish atomically: a hard link fails where the name exists, a rename replaces."""
    if if_none_match:
        target.hardlink_to(staged)
    else:
        staged.replace(target)


def _make_folder(folder: Path) -> None:
    """Create a folder durably: sync its parent."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
