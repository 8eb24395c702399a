"""Snapshots of several FlexVols at one point in time, to clone LUNs from: Cinder's way to group snapshots.

A snapshot of a FlexVol covers all its LUNs. Several FlexVols are snapshotted through a temporary consistency group: a
FlexVol can be in one such group at a time.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import re
import time
from collections.abc import Iterable

from chalicelib.drivers.ontap_client import Client, Record, Refused
from chalicelib.drivers.ontap_pools import VOLUMES
from chalicelib.jitter import jittered

logger = logging.getLogger(__name__)

GROUPS = '/application/consistency-groups'

PREFIX = 'cinderless-group-'

#: Seconds after which an object with this prefix counts as left behind by a dead process.
LEFT = 3600.0

#: Seconds between attempts to delete a FlexVol's snapshot while clones are still being split from it.
PAUSE = 1.0

#: ONTAP answers 202 and starts a job for what takes longer.
_WAIT = {'return_timeout': '10'}

_GONE = '4'

#: NetApp's tables do not contain the code of this error.
_BUSY = re.compile('busy|in use', re.IGNORECASE)


class PointInTime:
    """Named after the requested snapshots, so that a repeat finds it. All methods raise Refused."""

    def __init__(self, client: Client, wanted: Iterable[str]) -> None:
        """``wanted`` are the paths of the requested snapshots, whose FlexVols are snapshotted."""
        paths = sorted(wanted)
        self.name = PREFIX + hashlib.sha256(' '.join(paths).encode()).hexdigest()[:32]
        self._client = client
        names = '|'.join(sorted({path.split('/')[2] for path in paths}))
        self._flexvols = client.records(VOLUMES, name=names, fields='snapshot_directory_access_enabled')
        self._taken = [self._look(one) for one in self._flexvols]

    def path(self, lun: str) -> str:
        """Return the path of a LUN's state at this point in time."""
        folder, _, name = lun.rpartition('/')
        return f'{folder}/.snapshot/{self.name}/{name}'

    def hidden(self) -> list[str]:
        """Return the FlexVols whose snapshot directory is inaccessible."""
        return [one['name'] for one in self._flexvols if not one.get('snapshot_directory_access_enabled', True)]

    def exists(self) -> bool:
        """Whether all FlexVols have it."""
        return all(self._taken)

    def take(self) -> None:
        """Take it, after deleting partial ones, which are of another point in time."""
        self._remove()
        if len(self._flexvols) == 1:
            self._order(_snapshots(self._flexvols[0]), {'name': self.name})
            return
        self._order(f'{GROUPS}/{self._group()}/snapshots', {'name': self.name, 'consistency_type': 'crash'})

    def release(self) -> None:
        """Delete it. What cannot be deleted yet is deleted with the next group snapshot: see ``_look``."""
        try:
            self._remove()
            found = self._ours() if len(self._flexvols) > 1 else None
            if found:
                self._client.remove(f'{GROUPS}/{found["uuid"]}', **_WAIT)
        except Refused as refused:
            logger.warning('snapshot %s of a FlexVol could not be deleted yet: %s', self.name, refused)

    def _look(self, flexvol: Record) -> Record | None:
        """Return the FlexVol's snapshot. Others' leftovers are deleted at the same time, if possible."""
        where, ours = _snapshots(flexvol), None
        for found in self._client.all_records(where, name=f'{PREFIX}*', fields='create_time'):
            if found['name'] == self.name:
                ours = found
            elif _age(found) > LEFT:
                with contextlib.suppress(Refused):
                    self._drop(where, found)
        return ours

    def _order(self, where: str, body: Record) -> None:
        """POST the request that takes it. After a lost answer, the repeat is refused though the snapshot exists."""
        refusal = None
        try:
            self._client.add(where, body, **_WAIT)
        except Refused as refused:
            refusal = refused
        self._taken = [self._look(one) for one in self._flexvols]
        if refusal and not self.exists():
            raise refusal

    def _remove(self) -> None:
        for flexvol, found in zip(self._flexvols, self._taken, strict=True):
            while found and not self._drop(_snapshots(flexvol), found):
                if self._client.left() < 2 * PAUSE + 1:
                    raise self._client.unavailable(f'snapshot {self.name} of FlexVol {flexvol["name"]} is busy')
                time.sleep(jittered(PAUSE))
        self._taken = [None for _ in self._flexvols]

    def _drop(self, where: str, found: Record) -> bool:
        """Delete a snapshot and return True; False while clones are still being split from it."""
        try:
            self._client.remove(f'{where}/{found["uuid"]}', **_WAIT)
        except Refused as refused:
            if _BUSY.search(str(refused)):
                return False
            if refused.code != _GONE:
                raise
        return True

    def _group(self) -> str:
        """Return the uuid of a consistency group of all the FlexVols, created if necessary."""
        members = [{'name': one['name'], 'provisioning_options': {'action': 'add'}} for one in self._flexvols]
        for _ in range(2):
            try:
                self._client.make(GROUPS, {'name': f'{self.name}-{int(time.time())}', 'volumes': members}, **_WAIT)
            except Refused:
                if not self._ours() and not self._removed_old_group():
                    raise
            found = self._ours()
            if found:
                return str(found['uuid'])
        raise self._client.unavailable('the new consistency group of the FlexVols is missing')

    def _ours(self) -> Record | None:
        return self._client.first(GROUPS, name=f'{self.name}-*')

    def _removed_old_group(self) -> bool:
        """Delete old groups with these FlexVols; return whether one existed. Raises BackendUnavailable for new ones."""
        names, removed = {one['name'] for one in self._flexvols}, False
        for found in self._client.records(GROUPS, name=f'{PREFIX}*', fields='volumes.name'):
            shared = names & {one['name'] for one in found.get('volumes', [])}
            if shared and time.time() - int(found['name'].rpartition('-')[2]) < LEFT:
                raise self._client.unavailable(f'FlexVol {shared.pop()} is in another group snapshot')
            if shared:
                self._client.remove(f'{GROUPS}/{found["uuid"]}', **_WAIT)
                removed = True
        return removed


def _snapshots(flexvol: Record) -> str:
    return f'{VOLUMES}/{flexvol["uuid"]}/snapshots'


def _age(found: Record) -> float:
    """Return the seconds since a snapshot was taken."""
    return time.time() - datetime.datetime.fromisoformat(found['create_time']).timestamp()
