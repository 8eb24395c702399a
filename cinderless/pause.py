"""A pause in which nothing writes to the state folder of a running local cloud.

The stored state is in three places: DynamoDB Local, the storage host, and the documents of the server. All three are
stopped at the same time, so a copy is one that a power cut at that time would leave, which every start reads:

* all child processes of the server (DynamoDB Local, the storage agent, tgtd) are stopped by SIGSTOP. The server itself
  is not: a shell that waits for it would take its terminal away. Its requests to them wait;
* the documents are locked (SQLite), and with them its objects, keys, secrets and EBS volumes;
* the file system of the storage host's image is frozen (FIFREEZE), which writes what is in its cache to the image.

A process of its own ends the pause when this one dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from cinderless.errors import Failure

#: Requests of linux/fs.h.
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878

#: Seconds for all threads to stop, and for the documents to be free.
PATIENCE = 10.0

#: States of a thread that writes nothing any more: stopped, traced, zombie, dead.
STILL = frozenset('TtZXx')


@contextlib.contextmanager
def paused(pid: int, folder: Path) -> Iterator[None]:
    """Stop all writes to the state folder of the server ``pid`` until the block ends. Raises Failure."""
    with contextlib.ExitStack() as undo:
        children = descendants(pid)
        mount = undo.enter_context(_mounted(children, folder))
        undo.callback(_resume, children, mount)
        undo.enter_context(_guarded(children, mount))
        for child in children:
            _signal(child, signal.SIGSTOP)
        _wait_until_still(children)
        undo.enter_context(_locked(folder / 'aws' / 'documents.db'))
        if mount is not None:
            fcntl.ioctl(mount, FIFREEZE, 0)
        yield


def descendants(pid: int) -> list[int]:
    """Return the children of a process and theirs, a parent before its children."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for task in Path(f'/proc/{pid}/task').iterdir():
            for child in map(int, (task / 'children').read_text().split()):
                found += [child, *descendants(child)]
    return found


@contextlib.contextmanager
def _mounted(pids: list[int], folder: Path) -> Iterator[int | None]:
    """Open the mounted image of the storage host, which only its processes see; None without one."""
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            mounts = Path(f'/proc/{pid}/mountinfo').read_text().splitlines()
            places = [_unescaped(line.split()[4]) for line in mounts]
            for place in places:
                if Path(place).is_relative_to(folder):
                    descriptor = os.open(f'/proc/{pid}/root{place}', os.O_RDONLY | os.O_DIRECTORY)
                    try:
                        yield descriptor
                    finally:
                        os.close(descriptor)
                    return
    yield None


def _unescaped(place: str) -> str:
    """A path of mountinfo, where white space is an octal number."""
    return place.encode().decode('unicode_escape').encode('latin-1').decode()


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait_until_still(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while moving := [pid for pid in pids if not _is_still(pid)]:
        if time.monotonic() > deadline:
            raise Failure(f'pid {moving[0]} does not stop within {PATIENCE:g} s: a write to its disk hangs')
        time.sleep(0.002)


def _is_still(pid: int) -> bool:
    try:
        states = [(task / 'stat').read_text().rpartition(') ')[2][0] for task in Path(f'/proc/{pid}/task').iterdir()]
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended meanwhile
        return not Path(f'/proc/{pid}').exists()
    return STILL.issuperset(states)


@contextlib.contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Keep the server from storing a document. Its requests wait up to five seconds, then are repeated by clients."""
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as connection:
        try:
            connection.execute('begin immediate')
        except sqlite3.OperationalError as error:
            raise Failure(f'{database} cannot be locked ({error}): repeat this') from None
        yield
        connection.execute('rollback')


@contextlib.contextmanager
def _guarded(pids: list[int], mount: int | None) -> Iterator[None]:
    """Have another process end the pause when this one has ended before the block."""
    reader, writer = os.pipe()
    guard = os.fork()
    if guard == 0:
        os.setsid()  # Ctrl-C does not reach it
        os.close(writer)
        os.read(reader, 1)  # returns when the last writer has ended
        _resume(pids, mount)
        os._exit(0)
    os.close(reader)
    try:
        yield
    finally:
        os.close(writer)
        os.waitpid(guard, 0)


def _resume(pids: list[int], mount: int | None) -> None:
    """Thaw the file system before its writers continue. A second time does nothing."""
    if mount is not None:
        with contextlib.suppress(OSError):  # it is not frozen
            fcntl.ioctl(mount, FITHAW, 0)
    for pid in pids:
        _signal(pid, signal.SIGCONT)
