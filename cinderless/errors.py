"""How a command ends: the exit codes, and the error that carries one."""

from __future__ import annotations

from collections.abc import Mapping

#: The command failed, or a check found something wrong.
FAILED = 1

#: Wrong usage, or settings that cannot work. Nothing was changed.
REFUSED = 2

#: No local cloud runs in the state folder.
NOT_RUNNING = 3

#: Interrupted with Ctrl-C.
INTERRUPTED = 130

#: Exit code -> its meaning, for the help and the reference.
EXIT_CODES: Mapping[int, str] = {
    0: 'success',
    FAILED: 'the command failed, or a check found something wrong',
    REFUSED: 'wrong usage, or settings that cannot work; nothing was changed',
    NOT_RUNNING: 'no local cloud runs in the state folder',
    INTERRUPTED: 'interrupted',
}


class Failure(Exception):
    """A command ends with one line for the user. ``code`` is the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
