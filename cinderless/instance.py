"""The local cloud of a state folder, as another process sees it: by its lock, its ready.json and its files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from cinderless.errors import NOT_RUNNING, REFUSED, Failure
from local.state import LOCK, LOGS, MARKER

Command = TypeVar('Command', bound=Callable[..., Any])


class Instance(NamedTuple):
    """``pid`` is None unless a process holds the folder's lock; ``ready`` is {} until the instance is ready."""

    folder: Path
    pid: int | None
    started: str
    ports: dict[str, int]
    ready: dict[str, Any]

    @property
    def logs(self) -> Path:
        return self.folder / LOGS


def state_dir_option(command: Command) -> Command:
    """Add ``--state-dir``, which has the default and the variable of ``serve``."""
    return click.option(
        '--state-dir',
        type=click.Path(path_type=Path),
        envvar='STATE_DIR',
        default=Path('.local'),
        show_default=True,
        metavar='FOLDER',
        help='The state folder of the local cloud (STATE_DIR).',
    )(command)


def find(folder: Path) -> Instance:
    """Return the instance of a folder. Raises Failure for a folder that is not a local cloud's."""
    folder = folder.absolute()
    if not folder.exists():
        raise Failure(f'there is no local cloud in STATE_DIR={folder}: cinderless serve starts one', NOT_RUNNING)
    if not folder.is_dir():
        raise Failure(f'STATE_DIR={folder} is not a folder: name that of a local cloud with --state-dir', REFUSED)
    if not ((folder / MARKER).exists() or (folder / LOCK).exists()):
        raise Failure(f'STATE_DIR={folder} is not that of a local cloud: name one with --state-dir', REFUSED)
    pid = holder(folder / LOCK)
    noted = _json(folder / LOCK) if pid is not None else {}
    ready = _json(folder / 'ready.json') if pid is not None else {}
    return Instance(
        folder, pid, str(noted.get('started', '')), noted.get('ports') or {}, ready if ready.get('pid') == pid else {}
    )


def running(folder: Path) -> Instance:
    """Return the instance of a folder, ready for requests. Raises Failure without one."""
    found = find(folder)
    if found.pid is None:
        raise Failure(f'no local cloud uses STATE_DIR={found.folder}: start it with cinderless serve', NOT_RUNNING)
    if not found.ready:
        raise Failure(f'the local cloud (pid {found.pid}) is starting: repeat this when it is ready', NOT_RUNNING)
    return found


def client(instance: Instance, service: str) -> Any:
    """A boto3 client for the AWS endpoint of an instance."""
    import boto3

    ready = instance.ready
    return boto3.client(
        service,
        region_name=ready['region'],
        endpoint_url=ready['aws'],
        aws_access_key_id=ready['access_key'],
        aws_secret_access_key=ready['secret_key'],
    )


def holder(lock: Path) -> int | None:
    """Return the pid of the process that holds a lock file (flock), None without one. Takes no lock itself."""
    try:
        found = lock.stat()
    except FileNotFoundError:
        return None
    device = f'{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}'
    owners = [
        (int(fields[4]), fields[5].rpartition(':')[0])
        for fields in map(str.split, Path('/proc/locks').read_text().splitlines())
        if fields[1] == 'FLOCK' and fields[5].rpartition(':')[2] == str(found.st_ino)
    ]
    same = [pid for pid, of in owners if of == device] or [pid for pid, _ in owners if _opens(pid, lock)]
    return same[0] if same else None


def _opens(pid: int, path: Path) -> bool:
    """Whether a process has a file open: the device in /proc/locks differs from stat's on some file systems."""
    try:
        return any(each.samefile(path) for each in Path(f'/proc/{pid}/fd').iterdir())
    except (FileNotFoundError, PermissionError, ProcessLookupError):  # it has ended, or is another user's
        return False


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; {} for none, or for one that is being written."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
