"""The archive of a state folder: one tar file, compressed with zstd, that the local cloud of another machine reads.

Its first member, ``cinderless-state.json``, names the version of the format and of the state; the last one,
``complete``, shows that nothing is cut off. Files keep their holes. The archive has key material and secrets: only its
owner can read it.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard

from appliance.files import put_in_place, sync
from cinderless import sparse
from cinderless.errors import REFUSED, Failure
from cinderless.instance import holder
from cinderless.output import size as text_of
from cinderless.pause import paused
from infra.progress import Progress, Show, silent
from local.state import IMPORTING, KEPT, LOCK, LOGS, MARKER, STAGING, VERSION, StateFolder

#: Version of the archive's format, its first and its last member.
FORMAT, HEAD, END = 1, 'cinderless-state.json', 'complete'

#: Not part of a state: locks, SQLite's shared memory, and the control ports of this machine's tgtd.
LEFT_OUT = ('lock', 'control_port', 'control-port', 'mount')

#: Folders that every state has.
NEEDED = ('aws', 'dynamodb', 'appliance')

#: Bytes that stay free on the disk of the state folder while it is copied.
RESERVE = 256 * 1024 * 1024


class Source(NamedTuple):
    """What is archived: a folder, the files that its state must have, and the bytes of data in it."""

    folder: Path
    parts: list[str]
    size: int


@contextlib.contextmanager
def source(folder: Path, progress: Progress = silent) -> Iterator[Source]:
    """Return a state that nothing changes: the folder, or for a running instance a point-in-time consistent copy.

    ``progress`` shows the copy. Raises Failure and Refused.
    """
    pid = holder(folder / LOCK)
    state = StateFolder(folder)
    if pid is None:
        state.check()
        _require_durable(state)
        yield Source(folder, state.marker()[2], data_size(folder))
        return
    _require_durable(state)
    with _staging(folder) as staged:
        _require_space(folder)
        with paused(pid, folder), progress('copy', data_size(folder)) as show:
            count = _counted(show)
            for part in parts(folder):
                if part.name != LOGS:
                    copy_tree(part, staged / part.name, count)
        with contextlib.suppress(FileNotFoundError):
            copy_tree(folder / LOGS, staged / LOGS)
        yield Source(staged, state.marker()[2], data_size(staged))


def _require_durable(state: StateFolder) -> None:
    if not (state.path / MARKER).exists() or not state.marker()[1]:
        raise Failure(f'STATE_DIR={state.path} has no stored state: there is nothing to export', REFUSED)
    if not state.marker()[2]:
        raise Failure(f'STATE_DIR={state.path} was never ready: start it once, then repeat this', REFUSED)


def _require_space(folder: Path) -> None:
    """Raises Failure when the copy could fill the disk, which would stop the writes of the instance."""
    found, needed = os.statvfs(folder), data_size(folder) + RESERVE
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise Failure(
            f'the disk of STATE_DIR={folder} has {text_of(free)} free, and the copy may need {text_of(needed)}: free '
            'some space, or stop the local cloud, whose state is then read without a copy'
        )


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Make an empty folder for the copy, on the same file system. One export at a time."""
    staged = folder / STAGING
    staged.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(staged, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(f'another export of STATE_DIR={folder} is running: wait until it ends', REFUSED) from None
    else:
        for left in staged.iterdir():  # of an export that was killed
            shutil.rmtree(left)
        yield staged
        shutil.rmtree(staged)
    finally:
        os.close(descriptor)


def _counted(show: Show, most: int | None = None) -> Show:
    """Return a function that receives the bytes of each part; ``show`` receives their sum, ``most`` at most."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        show(done if most is None else min(done, most))

    return count


def copy_tree(source: Path, target: Path, show: Show = lambda size: None) -> None:
    """Copy a folder. Objects, which never change, are linked; one that is being deleted is left out."""
    for path in entries(source):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(mode=0o700)
        elif path.parent.name == 'objects':
            with contextlib.suppress(FileNotFoundError):
                os.link(path, place)
        else:
            sparse.copy(path, place, show)


def entries(folder: Path) -> Iterator[Path]:
    """Yield a folder, then the folders and files in it that are part of a state."""
    yield folder
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.endswith('-shm') or path.is_symlink():
            continue
        if path.is_dir():
            yield from entries(path)
        elif path.is_file():
            yield path


def parts(folder: Path) -> list[Path]:
    return [folder / name for name in (*KEPT, LOGS) if (folder / name).is_dir()]


def data_size(folder: Path) -> int:
    """Bytes of data in the parts of a state; holes are none."""
    total = 0
    for part in parts(folder):
        for path in entries(part):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                total += 0 if path.is_dir() else sparse.data_size(path)
    return total


def write(state: Source, stream: BinaryIO, show: Show) -> None:
    """Write the archive. ``show`` receives the sum of bytes that were read."""
    count = _counted(show, state.size)
    packed = zstandard.ZstdCompressor(level=3, threads=2, write_checksum=True)
    with (
        packed.stream_writer(stream, closefd=False) as pressed,
        tarfile.open(fileobj=pressed, mode='w|', format=tarfile.PAX_FORMAT, bufsize=sparse.CHUNK) as tar,
    ):
        now = f'{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}'
        head = {'format': FORMAT, 'state': VERSION, 'parts': state.parts, 'created': now, 'data': state.size}
        _add_text(tar, HEAD, json.dumps(head))
        for part in parts(state.folder):
            for path in entries(part):
                name = str(path.relative_to(state.folder))
                if path.is_dir():
                    _add_folder(tar, name)
                else:
                    sparse.add(tar, path, name, count)
        _add_text(tar, END, '')


def _add_folder(tar: tarfile.TarFile, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, 0o700
    tar.addfile(info)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o600
    tar.addfile(info, io.BytesIO(text.encode()))


def read(stream: BinaryIO, folder: Path, begin: Callable[[int], Show]) -> dict[str, Any]:
    """Make a state folder from an archive, and return the archive's head.

    ``begin`` receives the bytes of data and returns what receives the sum of bytes that are written. The folder must
    not exist or be empty, apart from what an interrupted import left. Raises Failure, and then leaves no state.
    """
    with _claimed(folder) as unfinished:
        try:
            with (
                zstandard.ZstdDecompressor().stream_reader(stream, closefd=False) as plain,
                tarfile.open(fileobj=plain, mode='r|', bufsize=sparse.CHUNK) as tar,
            ):
                head = _read_members(tar, unfinished, begin)
                while plain.read(sparse.CHUNK):  # to the end, where the checksum is compared
                    pass
        except (zstandard.ZstdError, tarfile.TarError, EOFError, ValueError) as error:  # ValueError: a table of holes
            raise Failure(f'the archive is damaged, or is not one of a state ({error})') from None
        _check_parts(unfinished, head['parts'])
        _put_in_place(unfinished, folder, head['parts'])
    return head


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[Path]:
    """Create and lock the folder; yield the place of what is not complete."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise Failure(f'STATE_DIR={folder} cannot be made ({error.strerror}): name another folder', REFUSED) from None
    if (names - {LOCK}) and (IMPORTING not in names or MARKER in names):
        raise Failure(f'STATE_DIR={folder} is not empty ({sorted(names)[0]}): name a new or empty folder', REFUSED)
    with (folder / LOCK).open('a') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f'STATE_DIR={folder} is in use: name another folder', REFUSED) from None
        unfinished = folder / IMPORTING
        unfinished.mkdir(mode=0o700, exist_ok=True)
        for name in KEPT:  # of an import that was killed while it put its parts in place
            shutil.rmtree(folder / name, ignore_errors=True)
        for left in unfinished.iterdir():
            shutil.rmtree(left)
        try:
            yield unfinished
        except BaseException:
            shutil.rmtree(unfinished)
            raise


def _read_members(tar: tarfile.TarFile, folder: Path, begin: Callable[[int], Show]) -> dict[str, Any]:
    head = _head(tar)
    show, done = begin(head['data']), 0
    while member := tar.next():
        if member.name == END:
            return head
        if not (member.isfile() or member.isdir()) or member.name.partition('/')[0] not in (*KEPT, LOGS):
            raise Failure(f'the archive has a member that is not part of a state: {member.name}')
        tar.extract(member, folder, filter='data')
        path = folder / member.name
        path.chmod(0o700 if member.isdir() else member.mode & 0o700)
        sync(path)
        if member.isfile():
            done += sparse.data_size(path)
            show(min(done, head['data']))
    raise Failure('the archive is cut off: its last member is missing')


def _head(tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    file = tar.extractfile(first) if first is not None and first.name == HEAD else None
    if file is None:
        raise Failure('this is not the archive of a state: it does not begin with ' + HEAD)
    try:
        head: dict[str, Any] = json.loads(file.read())
        head['data'] = int(head['data'])
        head['parts'] = [str(part) for part in head['parts']]
        head['format'], head['state'], head['created']
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Failure(f'the archive is damaged: {HEAD} is not readable ({error})') from None
    if head['format'] != FORMAT or head['state'] != VERSION:
        raise Failure(
            f'the archive has format {head["format"]} and state version {head["state"]}; this program reads format '
            f'{FORMAT} and version {VERSION}: use the version of the program that wrote it'
        )
    return head


def _check_parts(folder: Path, parts: list[str]) -> None:
    """Raises Failure for a state that would not start."""
    for name in NEEDED:
        if not (folder / name).is_dir():
            raise Failure(f'the archive lacks {name}')
    for part in parts:
        if not (folder / part).exists():
            raise Failure(f'the archive lacks {part}')
    for name in ('aws/documents.db', 'dynamodb/shared-local-instance.db'):
        if not (folder / name).is_file():
            raise Failure(f'the archive lacks {name}')
        with contextlib.closing(sqlite3.connect(folder / name)) as database:
            try:
                (found,) = database.execute('pragma quick_check(1)').fetchone()
            except sqlite3.DatabaseError as error:
                found = error
        if found != 'ok':
            raise Failure(f'{name} of the archive is damaged ({found})')


def _put_in_place(unfinished: Path, folder: Path, parts: list[str]) -> None:
    """Move the parts, then mark the folder: without the marker no start takes it for a state."""
    for part in (*KEPT, LOGS):
        if (unfinished / part).is_dir():
            shutil.rmtree(folder / part, ignore_errors=True)
            (unfinished / part).rename(folder / part)
    new = folder / (MARKER + '.new')
    new.write_text(json.dumps({'version': VERSION, 'durable': True, 'parts': parts}) + '\n')
    put_in_place(new, folder / MARKER)
    unfinished.rmdir()
