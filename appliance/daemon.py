"""tgtd as a child of the agent: ready when ``start`` returns, and killed when the agent ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from appliance import kernel
from appliance.errors import ApplianceError, Unavailable
from appliance.tgt import Mode, Op, Tgt

#: Seconds until tgtd is ready, and until it has ended.
PATIENCE = 5.0

#: tgtd's own default is 16 threads for each LUN.
THREADS_PER_LUN = 4

#: tgtd keeps its control port in a signed short.
_CONTROL_PORTS = range(1024, 32768)


class Daemon:
    def __init__(self, control_port: int, portals: list[str]) -> None:
        """Start tgtd. Raises Unavailable, or OSError for a portal in use."""
        self.tgt = Tgt(control_port)
        self.portals = portals
        self._pausing = threading.Lock()
        self.start()

    def start(self) -> None:
        """Start tgtd, also after it ended. Call it from the main thread: tgtd ends with its caller's thread."""
        for portal in self.portals:
            _check_free(portal)
        command = ['tgtd', '-f', '-C', str(self.tgt.control_port), '-t', str(THREADS_PER_LUN)]
        command += ['--iscsi', ','.join(f'portal={portal}' for portal in self.portals)]
        parent = os.getpid()
        self.process = subprocess.Popen(  # noqa: S603  # no shell; the portals are checked
            command, stdout=sys.stderr, stdin=subprocess.DEVNULL, preexec_fn=lambda: kernel.die_with(parent)
        )
        self._started = time.monotonic()
        try:
            self._wait_until_up(self.portals)
        except BaseException:
            self.stop()
            raise

    @property
    def age(self) -> float:
        """Return the seconds since tgtd was started."""
        return time.monotonic() - self._started

    def _wait_until_up(self, portals: list[str]) -> None:
        """Refuse a tgtd that cannot listen at its portals: it then listens on all addresses at port 3260."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(Unavailable):
                listening = self.tgt.portals()
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f'tgtd does not start (exit status {self.process.poll()}); see its messages')
            time.sleep(0.01)
        if listening != set(portals):
            raise Unavailable(f'tgtd listens at {sorted(listening)} instead of {sorted(portals)}: is a port taken?')
        self.tgt.check_protocol()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """tgtd reads, writes and answers nothing until the block ends; hosts wait. Raises Unavailable.

        An acknowledged write is in its file. So copies made within the block are point-in-time consistent across all
        volumes: they never contain a later write of a host without an earlier, acknowledged one.
        """
        with self._pausing, stopped(self.process):
            yield

    def stop(self) -> None:
        """End all sessions, remove all targets, end tgtd, and remove the sockets that it leaves behind."""
        with contextlib.suppress(ApplianceError):
            for target in self.tgt.targets():
                self.tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=target.tid, force=True)
            self.tgt.call('end tgtd', Mode.SYSTEM, Op.DELETE)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for path in (self.tgt.socket, self.tgt.socket + '.lock'):
            Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def stopped(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop all threads of the child until the block ends; the kernel reports when the last one has stopped.

    Raises Unavailable.
    """
    child.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + PATIENCE
        while os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG) is None:
            if time.monotonic() > deadline:
                raise Unavailable('tgtd does not stop: a write to its store hangs')
            time.sleep(0.001)
        yield
    finally:
        child.send_signal(signal.SIGCONT)


def address(portal: str) -> tuple[str, int]:
    """Split ``ip:port``, the ip in [] if it is IPv6. Raises ValueError."""
    host, _, port = portal.rpartition(':')
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f'{portal!r} is not of the form ip:port')
    return host.strip('[]'), int(port)


def join(host: str, port: int) -> str:
    """Join what ``address`` splits."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'


def _check_free(portal: str) -> None:
    """Raises OSError that names the portal."""
    host, port = address(portal)
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f'the portal {portal} cannot be used: {error.strerror}') from error


def choose_control_port(memory: Path) -> int:
    """Return the control port of the last start, else a free one. What a killed tgtd left behind is reused.

    Raises OSError for an unreadable memory: its tgtd may be running, and a second one would damage its volumes.
    """
    try:
        return int(memory.read_text())
    except (FileNotFoundError, ValueError):  # a first start, or one that ended while it wrote
        ports = random.sample(_CONTROL_PORTS, 100)
        free = next(port for port in ports if not Path(Tgt(port).socket).exists())
        memory.write_text(f'{free}\n')
        return free
