"""``cinderless``, also as ``python -m cinderless``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from cinderless.program import main


def run() -> NoReturn:
    """Run the program and exit at once: threads of a local cloud may still be in a handler."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError, ValueError):  # the reader of the pipe has ended, or it is closed
            stream.flush()
    os._exit(code)


if __name__ == '__main__':
    run()
