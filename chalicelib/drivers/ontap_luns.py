"""LUNs of one SVM by their paths: find, create once, change, copy, remove."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from chalicelib.drivers.ontap_client import Client, Record, Refused
from chalicelib.jitter import jittered

Result = TypeVar('Result')

LUNS = '/storage/luns'

#: The fields of a LUN that are always queried.
_FIELDS = (
    'name,svm.name,comment,space.size,space.scsi_thin_provisioning_support_enabled,qos_policy.name,lun_maps,attributes'
)
_STATE = 'copy.source.progress.state'

_EXISTS = '5374242'
GONE = ('5374875', '5374876')

#: NetApp's tables do not contain the code of this error.
_BUSY = re.compile('busy', re.IGNORECASE)

_COPYING = ('preparing', 'replicating', 'paused')

#: Seconds between polls of a copy, and between attempts to clone a busy LUN.
LOOK = 1.0


class Luns:
    def __init__(self, client: Client) -> None:
        self._client = client

    def find(self, path: str) -> Record | None:
        return self._client.first(LUNS, name=path, fields=_FIELDS)

    def find_by(self, **query: str) -> Record | None:
        return self._client.first(LUNS, **query, fields=_FIELDS)

    def records(self, fields: str, **query: str) -> list[Record]:
        return self._client.records(LUNS, **query, fields=fields)

    def make(self, path: str, body: Record) -> Record:
        """Create a LUN, or return the existing one of this path. Waits for a source that is busy being cloned."""
        made = self.retry_while_busy(lambda: self._make(path, body)) or self.find(path)
        if made is None:
            raise self._client.unavailable(f'LUN {path} is missing after it was created')
        return made

    def change(self, lun: Record, body: Record) -> None:
        self._client.change(f'{LUNS}/{lun["uuid"]}', body)

    def overwrite(self, lun: Record, source: str) -> None:
        """Make the LUN a clone of another: data and size are replaced; uuid, serial number and maps stay."""
        self.retry_while_busy(lambda: self.change(lun, {'clone': {'source': {'name': source}}}))

    def remove(self, lun: Record) -> None:
        """Remove a LUN and its maps; a missing one is success."""
        try:
            self._client.remove(f'{LUNS}/{lun["uuid"]}', allow_delete_while_mapped='true')
        except Refused as refused:
            if refused.code not in GONE:
                raise

    def wait_until_copied(self, path: str) -> Record:
        """Wait for a copy; return the LUN. If it takes too long, a repeat continues to wait."""
        while True:
            lun = self._client.first(LUNS, name=path, fields=f'{_FIELDS},{_STATE}')
            if lun is None:
                raise self._client.unavailable(f'the copy to {path} is gone')
            state = lun.get('copy', {}).get('source', {}).get('progress', {}).get('state', 'complete')
            if state == 'complete':
                return lun
            if state not in _COPYING or self._client.left() < 2 * LOOK:
                raise self._client.unavailable(f'the copy to {path} is {state}')
            time.sleep(jittered(LOOK))

    def retry_while_busy(self, step: Callable[[], Result]) -> Result:
        """Retry a step while the LUN is busy: it is, briefly, while it is cloned."""
        while True:
            try:
                return step()
            except Refused as refused:
                if not _BUSY.search(str(refused)) or self._client.left() < 2 * LOOK:
                    raise
                time.sleep(jittered(LOOK))

    def _make(self, path: str, body: Record) -> Record:
        try:
            return self._client.make(LUNS, {'name': path, **body})
        except Refused as refused:
            if refused.code != _EXISTS:
                raise
            return {}


def base(lun: Record) -> str:
    """Return the last part of its path."""
    return str(lun['name']).rpartition('/')[2]


def flexvol(lun: Record) -> str:
    return str(lun['name']).split('/')[2]
