"""Volumes as thin logical volumes. A copy is a thin snapshot: a volume like any other, independent of its source.

A pool of the agent is a tag, so that several pools may share one thin pool. tgtd opens the devices with O_DIRECT: an
acknowledged write has left the page cache, so a thin snapshot contains it.

Options, messages and reserved names are those of lvm2 2.03, and were tested with its parser and metadata.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from appliance import commands, thin
from appliance.errors import ApplianceError, Invalid, NotComparable, NotFound, OutOfSpace, Unavailable
from appliance.names import Key
from appliance.store import NEW, TRASH, Medium, Object

#: Runs a command and returns (exit status, output, error output).
Run = Callable[[tuple[str, ...]], tuple[int, str, str]]

_TAG = 'cinderless.pool.'

#: Messages of lvm2 when the volume group, or the thin pool's data or metadata, is full.
_NO_SPACE = ('insufficient free space', 'insufficient suitable', 'out of space', 'is above threshold')

#: Messages of lvrename, lvextend and lvcreate, and of the other commands.
_NOT_THERE = ('not found in volume group', 'failed to find logical volume')

#: Prefixes that lvm2 reserves. The agent puts '_' before such a name; names in requests never begin with '_'.
_RESERVED = ('snapshot', 'pvmove')


class _Volume(NamedTuple):
    pool: str
    object: Object


class LvmStore:
    copies_attached = True
    flags = 'direct'

    def __init__(self, group: str, thin_pool: str, run: Run = commands.outcome) -> None:
        self._group = group
        self._thin_pool = thin_pool
        self._run = run
        self._lock = threading.Lock()
        #: Objects whose replacement failed half-way.
        self._interrupted: set[str] = set()

    def path(self, key: Key) -> str:
        return f'/dev/{self._path(key.name)}'

    def _path(self, name: str) -> str:
        return f'{self._group}/{_lv(name)}'

    def objects(self, pool: str) -> dict[str, Object]:
        """Raises Unavailable while a replacement cannot be finished: its object may be renamed away."""
        self._finish_interrupted()
        volumes = self._volumes().items()
        return {name: volume.object for name, volume in volumes if volume.pool == pool and '.' not in name}

    def size(self, key: Key) -> int | None:
        found = self.objects(key.pool).get(key.name)
        return found.size if found else None

    def create(self, key: Key, size: int) -> None:
        self._lvm('lvcreate', '--virtualsize', f'{size}b', '--thinpool', f'{self._group}/{self._thin_pool}',
                  '--name', _lv(key.name), '--addtag', _TAG + key.pool)  # fmt: skip

    def copy(self, source: Key, target: Key, size: int) -> None:
        """A snapshot has its source's size and cannot replace a volume, so there are several steps; see ``recover``."""
        self._remove(target.name + NEW)
        try:
            self._lvm('lvcreate', '--snapshot', '--setactivationskip', 'n', '--name', _lv(target.name + NEW),
                      '--addtag', _TAG + target.pool, self._path(source.name))  # fmt: skip
            self._extend(target.name + NEW, size)
            self._replace(target.name)
        except ApplianceError:
            self._interrupted.add(target.name)
            with contextlib.suppress(ApplianceError):  # the first error is more specific; the next verb tries again
                self._finish_interrupted()
            raise

    def compares(self) -> bool:
        """Where thin_delta is installed."""
        try:
            return self._run(('thin_delta', '--version'))[0] == 0
        except (FileNotFoundError, TimeoutError):
            return False

    def exclusive(self, key: Key) -> int:
        """LVM reports shared blocks with each volume; the thin pool's own use is exact."""
        return 0

    def changes(self, new: Key, old: Key, start: int, stop: int) -> Iterable[tuple[int, int]]:
        """Both maps are read from one metadata snapshot, so they belong together; a pool has one at a time."""
        ids = {_name(row['lv_name']): row['thin_id'] for row in self._report('lv_name,thin_id', self._group)}
        target = f'{thin.device(self._group, self._thin_pool)}-tpool'
        path = f'/dev/mapper/{thin.device(self._group, self._thin_pool)}_tmeta'
        with self._lock:
            try:
                self._run(('dmsetup', 'message', target, '0', 'release_metadata_snap'))  # what a crash left
                self._checked('dmsetup', 'message', target, '0', 'reserve_metadata_snap')
                try:
                    delta = self._checked('thin_delta', '-m', '--snap1', ids[new.name], '--snap2', ids[old.name], path)
                finally:
                    self._run(('dmsetup', 'message', target, '0', 'release_metadata_snap'))
            except (FileNotFoundError, TimeoutError, KeyError) as error:
                raise NotComparable(f'thin pool {self._thin_pool} does not show its metadata: {error}') from error
        return thin.differences(delta, start, stop)

    def _checked(self, *command: str) -> str:
        """Raises NotComparable when the program refuses, and FileNotFoundError where it is not installed."""
        status, output, errors = self._run(command)
        if status != 0:
            raise NotComparable(f'{command[0]} of thin pool {self._thin_pool} failed: {errors.strip()}')
        return output

    def flush(self, key: Key) -> None:
        """Nothing is cached in memory."""

    def grow(self, key: Key, size: int) -> None:
        self._extend(key.name, size)

    def rename(self, key: Key, name: str) -> None:
        self._rename(key.name, name)

    def delete(self, key: Key) -> None:
        self._remove(key.name)

    def recover(self) -> None:
        """Finish replacements whose old volume is renamed away, undo all others, and activate the volumes.

        Raises Invalid for a thin pool that would expose another volume's old data.
        """
        if not self._pool_report('zero')['zero']:
            pool = f'{self._group}/{self._thin_pool}'
            raise Invalid(f'thin pool {pool} does not zero new blocks: lvchange --zero y {pool}')
        for name in {name.removesuffix(NEW).removesuffix(TRASH) for name in self._volumes() if '.' in name}:
            self._finish(name)
        self._activate()

    def medium(self) -> Medium:
        row = self._pool_report('lv_size,data_percent')
        total = int(row['lv_size'])
        return Medium(total, total - int(total * float(row['data_percent'] or 0) / 100))

    def close(self) -> None:
        """Nothing to release."""

    def _finish_interrupted(self) -> None:
        with self._lock:
            for name in list(self._interrupted):
                self._finish(name)
                self._interrupted.discard(name)

    def _finish(self, name: str) -> None:
        """Finish a replacement whose old volume is renamed away, and undo any other."""
        volumes = self._volumes()
        if name + NEW in volumes and name + TRASH in volumes and name not in volumes:
            self._rename(name + NEW, name)
        self._remove(name + NEW)
        self._remove(name + TRASH)

    def _replace(self, name: str) -> None:
        """Replace ``<name>``, if it exists, by ``<name>.new``."""
        replaced = name in self._volumes()
        if replaced:
            self._remove(name + TRASH)
            self._rename(name, name + TRASH)
        self._rename(name + NEW, name)
        if replaced:
            self._remove(name + TRASH)

    def _extend(self, name: str, size: int) -> None:
        if self._volumes()[name].object.size < size:
            self._lvm('lvextend', '--size', f'{size}b', self._path(name))

    def _remove(self, name: str) -> None:
        if name in self._volumes():
            self._lvm('lvremove', '--force', self._path(name))

    def _rename(self, name: str, new: str) -> None:
        self._lvm('lvrename', self._group, _lv(name), _lv(new))

    def _activate(self) -> None:
        """Activate volumes: after boot, udev may not be done, or lvm.conf may exclude the group."""
        rows = self._report('lv_name,lv_active,pool_lv,lv_tags', self._group)
        down = [row['lv_name'] for row in rows if self._is_ours(row) and row['lv_active'] != 'active']
        for name in down:
            self._lvm('lvchange', '--activate', 'y', f'{self._group}/{name}')

    def _volumes(self) -> dict[str, _Volume]:
        """Return all volumes of the thin pool with the agent's tag, including incomplete ones."""
        rows = self._report('lv_name,lv_size,pool_lv,data_percent,lv_tags', self._group)
        return {_name(row['lv_name']): _volume(row) for row in rows if self._is_ours(row)}

    def _is_ours(self, row: dict[str, str]) -> bool:
        return row['pool_lv'] == self._thin_pool and bool(_pool(row))

    def _pool_report(self, fields: str) -> dict[str, str]:
        return self._report(fields, f'{self._group}/{self._thin_pool}')[0]

    def _report(self, fields: str, what: str) -> list[dict[str, str]]:
        output = self._lvm('lvs', '--reportformat', 'json', '--units', 'b', '--nosuffix', '--options', fields, what)
        rows: list[dict[str, str]] = json.loads(output)['report'][0]['lv']
        return rows

    def _lvm(self, command: str, *arguments: str) -> str:
        """Raises Full, NotFound or Unavailable."""
        confirmed = () if command == 'lvs' else ('--yes',)
        try:
            status, output, errors = self._run((command, *confirmed, *arguments))
        except OSError as error:  # it hangs, or cannot be started
            raise Unavailable(f'{command} failed: {error}') from error
        if status == 0:
            return output
        if any(text in errors.lower() for text in _NO_SPACE):
            raise OutOfSpace(f'{command}: {errors.strip()}')
        if any(text in errors.lower() for text in _NOT_THERE):
            raise NotFound(f'{command}: {errors.strip()}')
        raise Unavailable(f'{command} failed: {errors.strip()}')


def _lv(name: str) -> str:
    """Return the logical volume's name for an object."""
    return f'_{name}' if name.startswith(_RESERVED) else name


def _name(lv: str) -> str:
    """Return the object's name of a logical volume."""
    return lv[1:] if lv[1:].startswith(_RESERVED) else lv


def _pool(row: dict[str, str]) -> str:
    tags = [tag for tag in row['lv_tags'].split(',') if tag.startswith(_TAG)]
    return tags[0][len(_TAG) :] if tags else ''


def _volume(row: dict[str, str]) -> _Volume:
    size = int(row['lv_size'])
    return _Volume(_pool(row), Object(size, int(size * float(row['data_percent'] or 0) / 100)))
