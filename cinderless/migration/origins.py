"""Origins of data that is copied: a file, a block special file, or a LUN over iSCSI. They are read, never written.

/srv/nfs/volume-1                     a raw image
/dev/mapper/rbd0                      a device of this machine, which the storage was attached to
iscsi://user@host:3260/IQN/LUN        a LUN, with CHAP if a user is named; without one no secret is sent
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalicelib.backup.image import FileDevice
from chalicelib.device import BlockDevice
from chalicelib.drivers.read_only import ReadOnlyDevice
from cinderless.errors import REFUSED, Failure

#: The name under which this program logs in to a target.
INITIATOR = 'iqn.2026-01.io.cinderless:migrate-copy'

#: First bytes of images that are not raw -> their format.
FORMATS = {b'QFI\xfb': 'qcow2', b'KDMV': 'VMDK', b'vhdxfile': 'VHDX', b'conectix': 'VHD'}

#: struct flock of fcntl(2) on 64 bits: type, whence, start, length, pid.
_FLOCK = struct.Struct('hhqqi4x')

#: errno values with which F_SETLEASE reports that the file system or the owner of the file does not allow a lease.
_NO_LEASE = frozenset({errno.EINVAL, errno.EACCES, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS})


@contextmanager
def opened(place: str, chap_secret: str | None) -> Iterator[BlockDevice]:
    """Open an origin for reading. A device is claimed, so that it is not mounted meanwhile.

    Raises Failure for one that does not exist, is in use, or is not raw; DeviceError.
    """
    if place.startswith('iscsi://'):
        from chalicelib.iscsi.device import open_device

        with open_device(_connection(place, chap_secret), initiator=INITIATOR) as device:
            yield ReadOnlyDevice(device)
        return
    path = Path(place)
    if not path.exists() or not (path.is_file() or path.is_block_device()):
        raise Failure(f'{place} is not a file, a block special file or iscsi://host:port/IQN/LUN', REFUSED)
    descriptor = _claimed(path)
    try:
        check_unused(path)
        with FileDevice(path, read_only=True) as file:
            _check_raw(path, file)
            yield ReadOnlyDevice(file)
    finally:
        os.close(descriptor)


def check_unused(path: Path) -> None:
    """Raise Failure for a file or device that another process has open for writing, or has locked."""
    writer = next(_writers(path), None)
    if writer is not None:
        raise _in_use(path, f'process {writer} has it open for writing')
    if path.is_block_device():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _is_locked(descriptor):
            raise _in_use(path, 'another process has locked a part of it')
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            raise _in_use(path, 'it is open for writing') from None
        except OSError as error:
            if error.errno not in _NO_LEASE:
                raise
        else:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _claimed(path: Path) -> int:
    """Open a path; a block device exclusively, as mount(8) and the targets of the kernel do."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_EXCL if path.is_block_device() else 0))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _in_use(path, 'it is mounted, exported or part of another device') from None
        raise Failure(f'{path} cannot be read: {error.strerror}', REFUSED) from None


def _in_use(path: Path, reason: str) -> Failure:
    return Failure(f'{path} is in use ({reason}): detach it everywhere first, and run this again', REFUSED)


def _writers(path: Path) -> Iterator[int]:
    """Yield the processes that have a file or device open for writing, as far as this user may see them."""
    wanted = _identity(path.stat())
    for link in Path('/proc').glob('[0-9]*/fd/*'):
        try:
            if _identity(link.stat()) == wanted and _is_writing(link) and int(link.parts[2]) != os.getpid():
                yield int(link.parts[2])
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # it is gone, or another user's
            continue


def _identity(found: os.stat_result) -> tuple[int, int]:
    return (-1, found.st_rdev) if stat.S_ISBLK(found.st_mode) else (found.st_dev, found.st_ino)


def _is_writing(link: Path) -> bool:
    facts = (link.parents[1] / 'fdinfo' / link.name).read_text()
    flags = next(line.split()[1] for line in facts.splitlines() if line.startswith('flags:'))
    return bool(int(flags, 8) & os.O_ACCMODE)


def _is_locked(descriptor: int) -> bool:
    """Return whether another process has a lock on the file: qemu locks images, on NFS too."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, wanted)
    except OSError as error:
        if error.errno not in _NO_LEASE:
            raise
        return False
    return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)


def _check_raw(path: Path, file: FileDevice) -> None:
    head = file.read(0, min(512, file.size))
    found = next((name for start, name in FORMATS.items() if head.startswith(start)), None)
    if found and path.is_file():
        advice = f'qemu-nbd --read-only --connect=/dev/nbd0 {path} makes it a device'
        raise Failure(f'{path} is a {found} image, not a raw one: {advice}', REFUSED)


def _connection(url: str, chap_secret: str | None) -> dict[str, object]:
    """Return the data of a connection, as os-brick names it."""
    parts = urllib.parse.urlsplit(url)
    iqn, _, lun = parts.path.strip('/').rpartition('/')
    if parts.password is not None:
        raise Failure('a secret in a URL is seen by others: set SOURCE_CHAP_SECRET instead', REFUSED)
    try:
        port = parts.port or 3260
        data: dict[str, object] = {'target_iqn': iqn, 'target_lun': int(lun), 'target_discovered': False}
    except ValueError:
        raise Failure(f'{url} is not iscsi://host:port/IQN/LUN', REFUSED) from None
    host = f'[{parts.hostname}]' if ':' in (parts.hostname or '') else parts.hostname
    if not host or not iqn:
        raise Failure(f'{url} is not iscsi://host:port/IQN/LUN', REFUSED)
    data['target_portal'] = f'{host}:{port}'
    if parts.username:
        if not chap_secret:
            raise Failure(f'{url} names a user: set SOURCE_CHAP_SECRET to its CHAP secret', REFUSED)
        user = urllib.parse.unquote(parts.username)
        data |= {'auth_method': 'CHAP', 'auth_username': user, 'auth_password': chap_secret}
    return data
