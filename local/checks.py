"""Checks before a local cloud writes anything: each raises Refused with one line of advice."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from local import certificates, place, reserve
from local.settings import HOST, STACK, Refused, Settings
from local.state import MARKER

#: A process of /proc has ended meanwhile.
GONE = (FileNotFoundError, ProcessLookupError)

#: Ports that LISTEN opens; the others are on loopback in every case.
OPENED = ('PORT', 'ISCSI_PORT')

#: Bytes of a new state (the log of an XFS image is most of them), and what must stay free for it to take work.
NEW_STATE = 200 * reserve.MIB + reserve.RESERVE + reserve.HELD

#: Seconds for an external Keystone's first answer, and for the ports of an instance that was just killed.
KEYSTONE_TIMEOUT, PORT_PATIENCE = 10, 5


def check(settings: Settings) -> None:
    """Raises Refused for the first thing that is wrong."""
    check_backends(settings.backends)
    check_webhooks(settings.webhooks)
    check_storage_host(settings)
    check_space(settings)
    check_open(settings)
    certificates.check(settings)
    for name, port in settings.ports.items():
        check_port(name, port, settings.listen if name in OPENED else HOST)
    check_keystone(settings.keystone_url)
    if settings.keystone_url and not settings.keystone_password:
        raise Refused(
            f'KEYSTONE_PASSWORD is empty: set the password of KEYSTONE_USERNAME={settings.keystone_username}, which '
            'validates tokens'
        )


def check_webhooks(document: str) -> None:
    if document:
        from local import webhooks  # most instances have none

        webhooks.read(document)


def check_backends(document: str) -> None:
    """A backends document that no driver takes."""
    if not document:
        return
    from chalicelib.errors import BackendMisconfigured
    from infra import backends

    try:
        found = backends.check(document.encode())
    except BackendMisconfigured as error:
        raise Refused(f'BACKENDS: {error}') from None
    if not found.names():
        raise Refused('BACKENDS: the list under backends is empty: name a backend, or unset BACKENDS')


def check_storage_host(settings: Settings) -> None:
    """A machine without the storage host's programs, and stored volumes that it cannot mount."""
    place.choose(settings.state_dir / 'appliance', fresh=settings.fresh == '1')


def check_space(settings: Settings) -> None:
    """A disk without space for a new state. An existing state starts on a full disk, for deletions."""
    if (settings.state_dir / MARKER).exists():
        return
    folder = next(each for each in (settings.state_dir, *settings.state_dir.parents) if each.exists())
    free = reserve.free_bytes(folder)
    if free < NEW_STATE:
        raise Refused(
            f'STATE_DIR={settings.state_dir}: the disk has {free // reserve.MIB} MiB free, and a new state needs '
            f'{NEW_STATE // reserve.MIB} MiB: free some, or set STATE_DIR to another disk'
        )


def check_open(settings: Settings) -> None:
    """An API that other machines reach, with passwords that everyone knows."""
    if not settings.is_open or settings.keystone_url or settings.insecure == '1':
        return
    users = well_known_users(settings)
    if users:
        raise Refused(
            f'LISTEN={settings.listen} opens the API to other machines, and passwords of {", ".join(users)} are well '
            'known: change them (cinderless user passwd, without LISTEN), set KEYSTONE_URL, or INSECURE=1 in a network '
            'that you trust'
        )


def well_known_users(settings: Settings) -> list[str]:
    """Return the users that this start would serve with their well-known passwords: all of a new state."""
    from chalicelib.identity.local import USERS, unchanged_users

    database = settings.state_dir / 'aws' / 'documents.db'
    if settings.fresh == '1' or settings.state == 'memory' or not database.exists():
        return list(USERS)
    with contextlib.closing(sqlite3.connect(f'{database.as_uri()}?mode=ro', uri=True)) as stored:
        query = "select body from documents where kind = 'secure string' and id = ?"
        try:
            found = stored.execute(query, (f'/{STACK}/identity',)).fetchone()
            return unchanged_users(json.loads(json.loads(found[0])['value']))
        except (sqlite3.Error, TypeError, ValueError, KeyError, RecursionError):  # not a state that could start
            return list(USERS)


def check_port(name: str, port: int, host: str = HOST) -> None:
    """A port that is taken; one of an instance that was just killed becomes free within seconds."""
    deadline = time.monotonic() + PORT_PATIENCE
    while not _is_free(port, host):
        holder = _holder(port)
        if time.monotonic() > deadline or (holder is not None and not _lost_its_parent(holder)):
            by = 'another program' if holder is None else _described(holder)
            raise Refused(f'{name}={port} is taken by {by}: stop it, or set {name}')
        time.sleep(0.1)


def _is_free(port: int, host: str) -> bool:
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise Refused(f'LISTEN={host} is not an address of this machine') from None
            if error.errno != errno.EADDRINUSE:
                raise Refused(f'port {port} cannot be used: {error.strerror}') from None
            return False
    return True


def _lost_its_parent(pid: int) -> bool:
    """Whether a process may be part of a local cloud that was killed: the kernel ends it then."""
    try:
        return int(Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2].split()[1]) == 1
    except GONE:
        return True


def _holder(port: int) -> int | None:
    """The process that listens on a port, None for one that this user may not see."""
    inodes = {f'socket:[{inode}]' for inode in _listening(port)}
    for path in Path('/proc').glob('[0-9]*/fd/*'):
        try:
            if str(path.readlink()) in inodes:
                return int(path.parts[2])
        except (*GONE, PermissionError):  # it has ended, or closed this, meanwhile, or is another user's
            continue
    return None


def _listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port."""
    for table in ('tcp', 'tcp6'):
        path = Path('/proc/net') / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == '0A' and int(fields[1].rpartition(':')[2], 16) == port:
                yield fields[9]


def _described(pid: int) -> str:
    try:
        command = Path(f'/proc/{pid}/cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace').strip()
    except GONE:
        command = ''
    return f'pid {pid} ({command[:60]})'


def check_keystone(url: str) -> None:
    """An external Keystone that does not answer. Any answer is one."""
    if not url:
        return
    try:
        urllib.request.urlopen(url, timeout=KEYSTONE_TIMEOUT).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, 'reason', error)
        raise Refused(f'KEYSTONE_URL={url} does not answer ({reason}): start it, or unset KEYSTONE_URL') from None
