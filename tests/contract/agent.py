"""An appliance's agent as a subprocess, on loopback: its own ports, state, store and tgtd."""

from __future__ import annotations

import functools
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from chalicelib.drivers.appliance import ApplianceDriver
from local.children import bound, free_port
from tests.contract.driver_suite import Backend

ROOT = Path(__file__).parents[2]

BACKEND = 'appliance'
HOST = f'cinderless@{BACKEND}'


#: The thread that starts agents. The kernel ends them when it ends, so it must not be one that a test starts.
STARTER = ThreadPoolExecutor(1, thread_name_prefix='agents')


class Agent:
    """``with Agent(folder) as agent``: it answers when the block begins, and has ended when the block ends.

    A restart keeps folder, portal and port, as a real host does.
    """

    def __init__(self, folder: Path, store: str = '', pools: str = 'fast,slow', *options: str) -> None:
        self.folder = folder
        self.store = store or f'xfs-image:{folder}/store.img:8G'
        self.portal = f'127.0.0.1:{free_port()}'
        self.listen = f'127.0.0.1:{free_port()}'
        self._options = ['--pools', pools, *options]
        self.secret = secrets.token_hex(24)
        (folder / 'secret').touch(mode=0o600)
        (folder / 'secret').write_text(self.secret)
        # Not in the folder: the path of a UNIX socket has 107 characters at most.
        self.sockets = tempfile.TemporaryDirectory(prefix='tgtd-')
        self.environment = os.environ | {'TGT_IPC_SOCKET': f'{self.sockets.name}/ipc'}
        #: The source of its program: another release's, in tests of updates.
        self.root = ROOT
        self.process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Agent:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.sockets.cleanup()

    def start(self) -> None:
        process = self.launch()
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f'the agent does not start: {self.log.read_text()}'
        self.ready = json.loads(line)

    def launch(self) -> subprocess.Popen[str]:
        """Start it without waiting for it."""
        command = [sys.executable, '-m', 'appliance', '--listen', self.listen, '--portal', self.portal]
        command += ['--state-dir', f'{self.folder}/state', '--secret-file', f'{self.folder}/secret']
        command += ['--store', self.store, *self._options]
        with self.log.open('a') as log:
            start = functools.partial(subprocess.Popen, bound(command), cwd=self.root, env=self.environment)
            self.process = STARTER.submit(start, stdout=subprocess.PIPE, stderr=log, text=True).result()
        return self.process

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status; one that has ended is fine."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(how)
        process.communicate(timeout=20)
        return process.returncode

    def kill(self) -> None:
        """Kill the agent as a power cut does, but for the page cache. Its tgtd ends with it."""
        self.stop(signal.SIGKILL)
        wait_for_end(self.ready['tgtd_pid'])

    @property
    def log(self) -> Path:
        return self.folder / 'log'

    def driver(self, **options: Any) -> ApplianceDriver:
        known = {'url': f'https://{self.listen}', 'fingerprint': self.ready['fingerprint'], 'secret': self.secret}
        return ApplianceDriver(BACKEND, known | options)

    def backend(self) -> Backend:
        return Backend(self.driver(), f'{HOST}#fast', f'{HOST}#slow', too_large=1000)


def wait_for_end(pid: int) -> None:
    """Wait until the kernel has killed the child of a killed process."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 10)[0], f'process {pid} still runs'
    finally:
        os.close(handle)
