"""``cinderless stop``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import click

from cinderless.errors import Failure
from cinderless.instance import Instance, find, holder, state_dir_option
from local.state import LOCK

#: Seconds in which a local cloud stops.
PATIENCE = 20


@click.command()
@state_dir_option
def stop(state_dir: Path) -> int:
    """Stop the local cloud of a state folder, and wait until it has ended.

    Only the process that holds the lock of the folder receives the signal. Without a local cloud nothing is done.
    """
    found = find(state_dir)
    if found.pid is None:
        click.echo(f'no local cloud uses {found.folder}')
        return 0
    end(found, PATIENCE)
    click.echo(f'the local cloud (pid {found.pid}) has stopped')
    return 0


def end(found: Instance, patience: float) -> None:
    """Send SIGTERM, and return when the lock is free. Raises Failure when it stays held for ``patience`` seconds."""
    assert found.pid is not None
    try:
        process = os.pidfd_open(found.pid)  # from here on the pid cannot become another process's
    except ProcessLookupError:
        return
    try:
        if holder(found.folder / LOCK) == found.pid:
            signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Failure(f'pid {found.pid} belongs to another user: run this as that user or as root') from None
    finally:
        os.close(process)
    deadline = time.monotonic() + patience
    while holder(found.folder / LOCK) == found.pid:
        if time.monotonic() > deadline:
            raise Failure(f'pid {found.pid} still runs after {patience:g} s: see {found.logs}, or kill -9 {found.pid}')
        time.sleep(0.05)
