"""``python -m local``: serve in the foreground until Ctrl-C or SIGTERM, then stop everything that was started.

``cinderless serve`` is the command for users.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Mapping

from local.place import PATH
from local.settings import Refused, Settings


class Stop(BaseException):
    """A signal ended the process, possibly during the start."""


class _Signals:
    """``postponed``: a signal waits for the end of ``undisturbed``. ``arrived``: one waits."""

    postponed = False
    arrived = False


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Raise Stop at the end of the block for a signal that arrives in it.

    An exception in the middle of Popen.poll would leave its lock taken, and the stop would wait for it forever.
    """
    _Signals.postponed = True
    try:
        yield
    finally:
        _Signals.postponed = False
    if _Signals.arrived:
        raise Stop


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Return the exit code: 0 after a signal, 1 after an error, 2 for a start that was refused."""
    logging.basicConfig(level=logging.WARNING, format='%(asctime)s %(name)s %(levelname)s %(message)s')
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)  # the functions' own lines are in functions.jsonl
    logging.getLogger('moto').setLevel(logging.CRITICAL)  # the functions' own log reports failed tasks
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        settings = Settings.from_environment(environment)
        return _served(settings)
    except Stop:
        return 0
    except Refused as error:
        if environment.get('DEBUG') == '1':
            traceback.print_exc()
        print(error, file=sys.stderr)
        return 2


def _served(settings: Settings) -> int:
    """Serve; 1 for an error that ends it, shown in one line without DEBUG=1."""
    try:
        serve(settings)
    except Refused:
        raise
    except Exception as error:
        shown = error if settings.debug == '1' else None
        text = ' '.join(str(error).split())
        logging.getLogger('local').error('the local cloud ends: %s (DEBUG=1 shows where)', text, exc_info=shown)
        return 1
    return 0


def _stop(number: int, frame: types.FrameType | None) -> None:
    """End the foreground; further signals must not disturb the stopping."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    _Signals.arrived = True
    if not _Signals.postponed:
        raise Stop


def notify(state: str) -> None:
    """Report to systemd, when it started this process with Type=notify (sd_notify(3))."""
    address = os.environ.get('NOTIFY_SOCKET')
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(state.encode(), address.replace('@', '\0', 1) if address.startswith('@') else address)


def serve(settings: Settings) -> None:
    from local.imports import spared

    os.environ['PATH'] = PATH
    with spared():
        from local.cloud import running
        from local.ready import advice

    with running(settings) as restart_ended:
        print(advice(settings), flush=True)
        notify('READY=1')
        # Short waits: this thread runs the signal handlers, but a signal to another thread does not interrupt its wait.
        while not threading.Event().wait(0.5):
            with undisturbed():
                restart_ended()


if __name__ == '__main__':
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # handlers may still run in their threads; exit without waiting for them
