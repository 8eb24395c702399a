"""The state folder: whose it is, which version wrote it, and who uses it.

A marker file marks a folder as a local cloud's and has the version of its state. The lock file is held
(flock) for as long as its instance runs, and names it. Nothing in a folder is written or removed before ``check`` and
the other checks of the start passed.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from appliance.files import put_in_place
from local.settings import Refused

MARKER, LOCK = 'cinderless.json', 'lock'

#: Version of the state. A later version of this program migrates an earlier state, and refuses a later one.
VERSION = 1

#: Folders and files that a local cloud creates in its state folder; ``FRESH=1`` removes these and nothing else.
KEPT = ('aws', 'dynamodb', 'appliance', 'tls', 'reserve', 'reserve.new')
#: Parts of a state that its records need; the marker names them, and the store of volumes, once an instance was ready.
PARTS = ('dynamodb/shared-local-instance.db', 'aws/documents.db', 'appliance/secret')
#: What an import has not completed, and the copy of an export that runs.
IMPORTING, STAGING = '.import', '.export'
TRANSIENT = ('ready.json', 'clouds.yaml')
LOGS = 'logs'

#: Files of version 0.1.0 in its folder, while it runs or after it was killed. It stored no state.
OF_0_1_0 = ('ready.json', 'clouds.yaml', 'log.jsonl', 'dynamodb.log', 'appliance')


class StateFolder:
    """``fresh`` removes the stored state. ``memory`` stores nothing: all data ends with the instance."""

    def __init__(self, path: Path, *, fresh: bool = False, memory: bool = False) -> None:
        self.path = path
        self._fresh = fresh
        self.memory = memory
        self._lock: TextIO | None = None

    @property
    def logs(self) -> Path:
        return self.path / LOGS

    def check(self) -> None:
        """Refuse a folder that is in use, of other content or of another version. Changes nothing."""
        try:
            self._check()
        except OSError as error:  # a link to itself, a name that is too long, a directory where a file should be
            raise Refused(f'{self._named()} cannot be used ({_cause(error)}): set STATE_DIR to another') from None

    def _check(self) -> None:
        self._existed = self.path.is_dir()
        if not self._existed:
            self._check_parent()
            return
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise Refused(f'{self._named()} is not writable: give it to this user, or set STATE_DIR')
        if (self.path / LOCK).exists() and self._lock is None:
            self._lock = self._held()
        if (self.path / MARKER).exists():
            self._check_marker()
        elif names := sorted(entry.name for entry in self.path.iterdir()):
            self._check_unmarked(names)

    def _check_parent(self) -> None:
        parent = next(each for each in self.path.parents if each.exists())
        if self.path.exists() or not parent.is_dir():
            wrong = self.path if self.path.exists() else parent
            raise Refused(f'{self._named()}: {wrong} is not a directory; set STATE_DIR to one')
        if not os.access(parent, os.W_OK | os.X_OK):
            raise Refused(f'{self._named()} cannot be made: {parent} is not writable; set STATE_DIR')

    def _check_marker(self) -> None:
        if self._fresh and (self.path / MARKER).is_file():
            return
        version, durable, parts = self.marker()
        if version != VERSION:
            raise Refused(
                f'{self._named()} holds state of version {version}, and this program reads version {VERSION}: '
                'run the version that wrote it, set STATE_DIR, or start empty with FRESH=1'
            )
        if self.memory and durable:
            raise Refused(
                f'{self._named()} holds stored state, and this start would keep everything in memory '
                '(STATE=memory, DYNAMODB=moto, or Java is missing): set another STATE_DIR, or FRESH=1 removes the state'
            )
        if durable:
            self._check_parts(parts)

    def _check_parts(self, parts: Collection[str]) -> None:
        for part in parts:
            if not (self.path / part).exists():
                raise Refused(
                    f'{self._named()}: {part} is missing, and the rest of the state needs it: restore the folder from '
                    'a copy, set STATE_DIR, or start empty with FRESH=1'
                )

    def marker(self) -> tuple[int, bool, list[str]]:
        """(version, whether the state is stored, required parts)."""
        try:
            found = json.loads((self.path / MARKER).read_text())
            version, durable, parts = found['version'], found['durable'], found.get('parts', [])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(f'{error}') from None
        # Exactly these types: a version 1.9 or true is not version 1.
        if type(version) is not int or type(durable) is not bool or not _are_texts(parts):
            raise self._damaged(f'version {version!r}, durable {durable!r}, parts {parts!r}')
        return version, durable, parts

    def _damaged(self, why: str) -> Refused:
        return Refused(f'{self._named()}: {MARKER} is damaged ({why}): set STATE_DIR, or start empty with FRESH=1')

    def _check_unmarked(self, names: list[str]) -> None:
        if IMPORTING in names:
            raise Refused(f'{self._named()}: an import was interrupted: repeat cinderless state import, or remove it')
        if set(names) <= {LOCK, MARKER + '.new'}:  # of a start that was killed
            return
        if not set(names) <= {*OF_0_1_0, LOCK}:
            raise Refused(f'{self._named()} is not empty and not of a local cloud ({names[0]}): set another STATE_DIR')
        if self._runs_0_1_0():
            raise Refused(f'{self._named()}: a local cloud of version 0.1.0 uses it: stop it, or set STATE_DIR')
        if not self._fresh:
            raise Refused(
                f'{self._named()} is of version 0.1.0, which kept nothing beyond its run: '
                'FRESH=1 removes what it left, or set another STATE_DIR'
            )

    def _runs_0_1_0(self) -> bool:
        try:
            pid = int(json.loads((self.path / 'ready.json').read_text())['pid'])
            return Path(f'/proc/{pid}').exists()
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _named(self) -> str:
        return f'STATE_DIR={self.path}'

    def _held(self) -> TextIO:
        """The lock file, locked. Raises Refused that names the instance that has it."""
        lock = (self.path / LOCK).open('a+')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = _holder(lock.read())
            lock.close()
            raise Refused(
                f'{self._named()}: another local cloud ({holder}) uses it: stop it, or set STATE_DIR'
            ) from None
        return lock

    @contextlib.contextmanager
    def claimed(self, ports: Mapping[str, int]) -> Iterator[None]:
        """Create, mark and lock the folder. In memory mode only logs remain at the end."""
        self._make()
        self._lock = self._lock or self._held()
        try:
            self._note(ports)
            self._remove((*TRANSIENT, IMPORTING))  # of an instance or import that was killed
            self._remove_staging()
            self._mark()
            self.logs.mkdir(mode=0o700, exist_ok=True)
            yield
        finally:
            self._remove(TRANSIENT)
            if self.memory:
                self.empty()
            self._lock.truncate(0)
            self._lock.close()

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:  # a file system that is read-only, full, or cannot create folders
            raise Refused(f'{self._named()} cannot be made ({error.strerror}); set STATE_DIR to another') from None

    def _mark(self) -> None:
        """Keep what an instance stored, and nothing of one that kept its tables in memory and was killed."""
        marked = (self.path / MARKER).exists()
        if self._fresh or self.memory or not (marked and self.marker()[1]):
            _write(self.path / MARKER, {'version': VERSION, 'durable': False})  # a killed removal is not half a state
            self._remove((*KEPT, *TRANSIENT, *OF_0_1_0))
            _write(self.path / MARKER, {'version': VERSION, 'durable': not self.memory})

    def complete(self, store: str) -> None:
        """Record that an instance was ready: from here on each part of its state must be there, and the ``store``."""
        if not self.memory:
            _write(self.path / MARKER, {'version': VERSION, 'durable': True, 'parts': [*PARTS, f'appliance/{store}']})

    def _note(self, ports: Mapping[str, int]) -> None:
        assert self._lock is not None
        started = f'{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}'
        self._lock.truncate(0)
        self._lock.write(json.dumps({'pid': os.getpid(), 'started': started, 'ports': dict(ports)}))
        self._lock.flush()

    def empty(self) -> None:
        """Remove the content that a local cloud created, except its logs."""
        self._remove((*KEPT, *TRANSIENT, *OF_0_1_0, MARKER))

    def _remove_staging(self) -> None:
        """Remove the copy of an export that was killed. One that runs has it locked."""
        staging = self.path / STAGING
        if staging.is_dir():
            descriptor = os.open(staging, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove((STAGING,))
            except BlockingIOError:
                return
            finally:
                os.close(descriptor)

    def _remove(self, names: tuple[str, ...]) -> None:
        for name in names:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _are_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _cause(error: OSError) -> str:
    return f'{error.strerror}: {error.filename}' if error.filename else str(error.strerror)


def _holder(text: str) -> str:
    try:
        found: dict[str, Any] = json.loads(text)
        ports = ' '.join(str(port) for port in found['ports'].values())
        return f'pid {found["pid"]}, ports {ports}, since {found["started"]}'
    except (ValueError, KeyError, TypeError, RecursionError):
        return 'just starting'


def _write(path: Path, document: Mapping[str, Any]) -> None:
    unfinished = path.with_name(path.name + '.new')
    unfinished.write_text(json.dumps(document) + '\n')
    put_in_place(unfinished, path)
