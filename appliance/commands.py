"""Other programs, run to their end."""

from __future__ import annotations

import subprocess

#: Seconds. mkfs and openssl take fractions of one; lvm waits for its own locks.
TIMEOUT = 60.0


def run(*command: str) -> str:
    """Return what the command prints. Raises OSError with what it says of its failure."""
    status, output, said = outcome(command)
    if status != 0:
        raise OSError(f'{command[0]} failed: {said.strip()}')
    return output


def outcome(command: tuple[str, ...]) -> tuple[int, str, str]:
    """Return (exit status, output, error output). Raises OSError if there is no such program, or it hangs."""
    try:
        done = subprocess.run(  # noqa: S603  # no shell; every argument passed the grammar of names
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f'{command[0]} did not end within {TIMEOUT:.0f} s') from error
    return done.returncode, done.stdout, done.stderr
