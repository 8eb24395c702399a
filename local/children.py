"""Child processes of the local cloud. They end with it, even when it is killed."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from local.settings import HOST

#: Seconds that a program has to end after SIGTERM.
GRACE = 3

#: Bytes of a program's log from which its next start begins another.
LOG_SIZE = 8 * 1024 * 1024

#: Runs a program that the kernel kills when its parent dies, and that never starts when the parent died before this was
#: arranged. The id of the parent comes first.
BOUND = ('setpriv', '--pdeathsig', 'KILL', '--', 'sh', '-c', '[ "$PPID" = "$0" ] && exec "$@"')


def bound(command: Sequence[str]) -> list[str]:
    """Return a command whose program, under its own pid, the kernel kills when the calling thread ends.

    For programs of tests and tools as well: a run that is killed cannot end them.
    """
    return [*BOUND, str(os.getpid()), *command]


def free_port(besides: Collection[int] = ()) -> int:
    """Return a port that no program uses, other than those that are for programs that start later."""
    while True:
        with socket.socket() as one:
            port = bind_free(one)
        if port not in besides:
            return port


def bind_free(one: socket.socket) -> int:
    """Bind to a free port below those that outgoing connections take: it stays free for a server until it starts."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        try:
            one.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port


class Child:
    """One program in a session of its own, so that Ctrl-C reaches the server alone, which then stops it in order.

    Start it from the main thread: the kernel ends it when the thread that started it ends.
    """

    def __init__(
        self, command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the program. Append its standard error to ``log``, which is rotated above ``LOG_SIZE``.

        ``environment`` is added to that of this process.
        """
        if log.exists() and log.stat().st_size > LOG_SIZE:
            log.replace(log.with_suffix('.log.1'))
        with log.open('ab') as errors:
            self._begin = errors.tell()
            self._process = subprocess.Popen(
                bound(command),
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def first_line(self, timeout: float) -> str:
        """The first line that it prints, or '' when it ends, or keeps silent for ``timeout`` seconds."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout)
        return self._process.stdout.readline().decode() if readable else ''

    def said(self) -> str:
        """Return the end of its standard error, for a message about its failure."""
        if not self._log.exists():
            return ''
        with self._log.open('rb') as log:
            log.seek(max(self._begin, self._log.stat().st_size - 1000))
            return log.read().decode(errors='replace').strip()

    def stop(self) -> None:
        """Send SIGTERM; kill the program if it still runs after ``GRACE`` seconds."""
        self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
