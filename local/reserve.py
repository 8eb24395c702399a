"""Space on the disk of the state folder that is left for deletions, log-ins, and the end of work in progress.

Work that stores more stops while less than ``RESERVE`` is free. Deletions continue. Hosts that write to attached
volumes stop at nothing, so a file of ``HELD`` bytes keeps space for the tables: it is removed when they need it, and
made again when the disk has space. If the hosts fill that space too, the tables take only writes that free space or
secure an account, down to ``LAST`` bytes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import threading
from pathlib import Path

from local.http import Request

log = logging.getLogger('local')

MIB = 1024 * 1024

#: Free bytes below which nothing new is begun; of the file; and below which the tables take no new item.
RESERVE, HELD, FLOOR = 64 * MIB, 32 * MIB, 8 * MIB

#: Free bytes below which the tables take no write: space for the commits of some requests at the same time.
LAST = MIB

#: Bytes of a write that may use the space between LAST and FLOOR.
SMALL = 64 * 1024

#: Parts of writes that store no new item. An update of a counter of wrong passwords may: such a log-in must work.
_FREEING = ('Update', 'UpdateItem', 'Delete', 'DeleteItem', 'DeleteRequest', 'ConditionCheck')

#: The end of the name of a table whose new items withdraw access.
_SECURING = '-revocations'

#: The file in the state folder.
NAME = 'reserve'

#: Requests that begin nothing: they read, delete, or authenticate.
_METHODS = ('GET', 'HEAD', 'OPTIONS', 'DELETE')
_PATHS = re.compile(r'/identity/v3/auth/tokens/?|/v3/[^/]+/consistencygroups/[^/]+/delete')
_ACTIONS = {
    *('os-force_delete', 'os-reset_status', 'reset_status', 'delete'),
    *('os-detach', 'os-force_detach', 'os-terminate_connection', 'os-unreserve', 'os-roll_detaching'),
}


class Reserve:
    """The reserve of one state folder. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / NAME
        self._lock = threading.Lock()

    def is_low(self) -> bool:
        """Whether nothing new may be stored."""
        free = free_bytes(self._folder)
        if free > RESERVE + HELD and not self._file.exists():
            self._hold()
        return free < RESERVE

    def admits(self, operation: str, body: bytes) -> bool:
        """Whether a table may be written; removes the file when that frees enough. ``body`` is DynamoDB's request."""
        if free_bytes(self._folder) >= FLOOR:
            return True
        with self._lock:
            if self._file.exists():
                log.warning('the disk of %s is full: delete volumes, backups or other files', self._folder)
                self._file.unlink()
        return free_bytes(self._folder) >= (LAST if frees_or_secures(operation, body) else FLOOR)

    def _hold(self) -> None:
        unfinished = self._file.with_suffix('.new')
        with self._lock, unfinished.open('wb') as file:
            try:
                os.posix_fallocate(file.fileno(), 0, HELD)
                unfinished.replace(self._file)
            except OSError as error:
                unfinished.unlink()
                if error.errno != errno.ENOSPC:  # filled meanwhile
                    raise


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def frees_or_secures(operation: str, body: bytes) -> bool:
    """Whether a write to the tables is small and stores no new item, or only items that withdraw access."""
    if len(body) > SMALL:
        return False
    parts = _parts(operation, body)
    return bool(parts) and all(part in _FREEING or table.endswith(_SECURING) for part, table in parts)


def _parts(operation: str, body: bytes) -> list[tuple[str, str]]:
    """[(operation, table)] of each write in a request; [] for one that cannot be read."""
    try:
        request = json.loads(body)
        if operation == 'TransactWriteItems':
            return [(part, one[part]['TableName']) for one in request['TransactItems'] for part in one]
        if operation == 'BatchWriteItem':
            batches = request['RequestItems'].items()
            return [(part, table) for table, batch in batches for one in batch for part in one]
        return [(operation, request['TableName'])]
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return []


def begins_work(request: Request) -> bool:
    """Whether a request to the API stores more: False for reads, deletions, log-ins and the ends of attachments."""
    if request.method in _METHODS or _PATHS.fullmatch(request.path):
        return False
    return not (request.path.endswith('/action') and _action(request.body) in _ACTIONS)


def _action(body: bytes) -> str:
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, dict) and len(found) == 1:
            return str(next(iter(found)))
    return ''
