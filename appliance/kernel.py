"""System calls missing in Python."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000

#: pidfd_getfd, Linux 5.6; the same number on all architectures.
_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that forked it ends; unblock signals. For a child, before exec.

    If the parent has already ended, no signal would come: the child exits.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)


def own_mounts() -> None:
    """Use a mount namespace of this process and its children, whose mounts vanish with the last of them.

    Requires root. Raises OSError.
    """
    if _libc.unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'unshare: {os.strerror(number)}')


@contextlib.contextmanager
def socket_of(pid: int, descriptor: int) -> Iterator[socket.socket]:
    """Yield a duplicate of another process's socket: operations on it affect that process's socket.

    Raises OSError: EBADF if it has closed the descriptor, EPERM or ENOSYS if the kernel does not permit it.
    """
    process = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
        if copy < 0:
            number = ctypes.get_errno()
            raise OSError(number, f'pidfd_getfd: {os.strerror(number)}')
    finally:
        os.close(process)
    with socket.socket(fileno=copy) as found:
        yield found
