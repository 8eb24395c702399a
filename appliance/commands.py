"""Run other programs."""

from __future__ import annotations

import subprocess

#: Seconds. mkfs and openssl take fractions of one; lvm waits for its own locks.
TIMEOUT = 60.0


def run(*command: str) -> str:
    """Return the command's output. Raises OSError with its error output."""
    status, output, errors = outcome(command)
    if status != 0:
        raise OSError(f'{command[0]} failed: {errors.strip()}')
    return output


def outcome(command: tuple[str, ...]) -> tuple[int, str, str]:
    """Return (exit status, output, error output).

    Raises FileNotFoundError if the program is missing, and TimeoutError if it hangs.
    """
    try:
        done = subprocess.run(  # noqa: S603  # no shell; every argument passed the grammar of names
            command, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f'{command[0]} did not end within {TIMEOUT:.0f} s') from error
    return done.returncode, done.stdout, done.stderr
