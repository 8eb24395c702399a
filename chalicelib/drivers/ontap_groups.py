"""One moment of several FlexVols, to clone LUNs out of: what Cinder's own driver takes group snapshots by.

A snapshot of a FlexVol freezes all LUNs in it. Several FlexVols are frozen by a consistency group of them, which is
there for that moment only: a FlexVol can be in one such group at a time.
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

#: Seconds after which what bears our prefix was left by a process that died, and that nobody came back for.
LEFT = 3600.0

#: Seconds between attempts to remove a FlexVol's snapshot that clones are still being made independent of.
PAUSE = 1.0

#: ONTAP answers 202 and makes a job of what takes longer.
_WAIT = {'return_timeout': '10'}

_GONE = '4'

#: No table of NetApp's names the code of this.
_BUSY = re.compile('busy|in use', re.IGNORECASE)


class Moment:
    """Named after the snapshots that are wanted, so that a repeat finds it. All verbs raise Refused."""

    def __init__(self, client: Client, wanted: Iterable[str]) -> None:
        """``wanted`` are the paths of snapshots, in the FlexVols that are to be frozen."""
        paths = sorted(wanted)
        self.name = PREFIX + hashlib.sha256(' '.join(paths).encode()).hexdigest()[:32]
        self._client = client
        names = '|'.join(sorted({path.split('/')[2] for path in paths}))
        self._flexvols = client.records(VOLUMES, name=names, fields='snapshot_directory_access_enabled')
        self._taken = [self._look(one) for one in self._flexvols]

    def path(self, lun: str) -> str:
        """Where a LUN, by its path, lies as of this moment."""
        folder, _, name = lun.rpartition('/')
        return f'{folder}/.snapshot/{self.name}/{name}'

    def hidden(self) -> list[str]:
        """The FlexVols whose snapshots cannot be looked into."""
        return [one['name'] for one in self._flexvols if not one.get('snapshot_directory_access_enabled', True)]

    def there(self) -> bool:
        """Whether all FlexVols have it."""
        return all(self._taken)

    def take(self) -> None:
        """Take it anew: what is there in part is of another moment."""
        self._remove()
        if len(self._flexvols) == 1:
            self._order(_snapshots(self._flexvols[0]), {'name': self.name})
            return
        self._order(f'{GROUPS}/{self._group()}/snapshots', {'name': self.name, 'consistency_type': 'crash'})

    def end(self) -> None:
        """Let the FlexVols go on without it. What cannot go yet goes with the next group snapshot: see ``_look``."""
        try:
            self._remove()
            found = self._ours() if len(self._flexvols) > 1 else None
            if found:
                self._client.remove(f'{GROUPS}/{found["uuid"]}', **_WAIT)
        except Refused as refused:
            logger.warning('snapshot %s of a FlexVol is left for now: %s', self.name, refused)

    def _look(self, flexvol: Record) -> Record | None:
        """The FlexVol's snapshot of this moment. What others left is removed by the way, if it can be."""
        where, ours = _snapshots(flexvol), None
        for found in self._client.all_records(where, name=f'{PREFIX}*', fields='create_time'):
            if found['name'] == self.name:
                ours = found
            elif _age(found) > LEFT:
                with contextlib.suppress(Refused):
                    self._drop(where, found)
        return ours

    def _order(self, where: str, body: Record) -> None:
        """POST what takes it. When the answer is lost the repeat is refused, though all is there."""
        refusal = None
        try:
            self._client.add(where, body, **_WAIT)
        except Refused as refused:
            refusal = refused
        self._taken = [self._look(one) for one in self._flexvols]
        if refusal and not self.there():
            raise refusal

    def _remove(self) -> None:
        for flexvol, found in zip(self._flexvols, self._taken, strict=True):
            while found and not self._drop(_snapshots(flexvol), found):
                if self._client.left() < 2 * PAUSE + 1:
                    raise self._client.unavailable(f'snapshot {self.name} of FlexVol {flexvol["name"]} is busy')
                time.sleep(jittered(PAUSE))
        self._taken = [None for _ in self._flexvols]

    def _drop(self, where: str, found: Record) -> bool:
        """Whether it is gone; False while clones are still being made independent of it."""
        try:
            self._client.remove(f'{where}/{found["uuid"]}', **_WAIT)
        except Refused as refused:
            if _BUSY.search(str(refused)):
                return False
            if refused.code != _GONE:
                raise
        return True

    def _group(self) -> str:
        """The uuid of a consistency group of all the FlexVols, made if need be."""
        members = [{'name': one['name'], 'provisioning_options': {'action': 'add'}} for one in self._flexvols]
        for _ in range(2):
            try:
                self._client.make(GROUPS, {'name': f'{self.name}-{int(time.time())}', 'volumes': members}, **_WAIT)
            except Refused:
                if not self._ours() and not self._made_way():
                    raise
            found = self._ours()
            if found:
                return str(found['uuid'])
        raise self._client.unavailable('the FlexVols are in no consistency group after one was made')

    def _ours(self) -> Record | None:
        return self._client.first(GROUPS, name=f'{self.name}-*')

    def _made_way(self) -> bool:
        """Whether another of our groups that has a FlexVol was left there, and is gone now."""
        names, gone = {one['name'] for one in self._flexvols}, False
        for found in self._client.records(GROUPS, name=f'{PREFIX}*', fields='volumes.name'):
            shared = names & {one['name'] for one in found.get('volumes', [])}
            if shared and time.time() - int(found['name'].rpartition('-')[2]) < LEFT:
                raise self._client.unavailable(f'FlexVol {shared.pop()} is being frozen with others')
            if shared:
                self._client.remove(f'{GROUPS}/{found["uuid"]}', **_WAIT)
                gone = True
        return gone


def _snapshots(flexvol: Record) -> str:
    return f'{VOLUMES}/{flexvol["uuid"]}/snapshots'


def _age(found: Record) -> float:
    """Seconds since a snapshot was taken."""
    return time.time() - datetime.datetime.fromisoformat(found['create_time']).timestamp()
