"""The two system calls that Python 3.9 lacks."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Be killed when the thread that forked this process ends, and hear all signals. For a child, before exec.

    A parent that is gone already leaves the child to another parent, and no signal comes any more.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)


def own_mounts() -> None:
    """Have mounts of our own from now on: they are seen by our children only, and vanish with the last of us.

    Raises OSError; it takes root.
    """
    if _libc.unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f'unshare: {os.strerror(number)}')
