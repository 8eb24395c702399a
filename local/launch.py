"""Start a local cloud of one's own as a child process, for the demo, the figures and the tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local.children import bind_free, bound

ROOT = Path(__file__).resolve().parent.parent

#: Seconds for the start, and for the stop.
START, STOP = 120, 20

PORTS = ('PORT', 'AWS_PORT', 'ISCSI_PORT', 'APPLIANCE_PORT')


class Failed(Exception):
    """The local cloud did not start or stop."""


@contextlib.contextmanager
def launched(state_dir: Path, environment: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Run ``python -m local`` on free ports under ``state_dir``; yield the content of its ready.json; stop it.

    The instance writes its output to ``state_dir/../<name>.log``, which the error names when it fails.
    """
    (state_dir / 'ready.json').unlink(missing_ok=True)  # of an instance that was killed
    log = state_dir.with_suffix('.log')
    settings = {**os.environ, **free_ports(), **(environment or {}), 'STATE_DIR': str(state_dir)}
    with log.open('wb') as output:
        child = subprocess.Popen(
            bound([sys.executable, '-m', 'local']), cwd=ROOT, env=settings, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield wait_ready(child, state_dir / 'ready.json', log)
        finally:
            stop(child, log)


def free_ports() -> dict[str, str]:
    """A free port for each of the local cloud's; all are held at once so that they differ."""
    with contextlib.ExitStack() as stack:
        return {name: str(bind_free(stack.enter_context(socket.socket()))) for name in PORTS}


def wait_ready(child: subprocess.Popen[bytes], ready: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise Failed(f'the local cloud ended with {child.returncode}; see {log}')
        if ready.exists():
            facts: dict[str, Any] = json.loads(ready.read_text())
            return facts
        time.sleep(0.05)
    raise Failed(f'the local cloud was not ready in {START} s; see {log}')


def stop(child: subprocess.Popen[bytes], log: Path) -> None:
    child.terminate()
    try:
        child.wait(STOP)
    except subprocess.TimeoutExpired:
        child.kill()
        raise Failed(f'the local cloud did not stop in {STOP} s; see {log}') from None
