"""Command lines against the local cloud, as tables: each program's own ``main``, with arguments and environment.

A story is a list of rows (line, pattern). A line is run with the facts found so far in its braces; it must succeed,
and its output must match the pattern, whose named groups are facts for the lines after it. ``! line`` must fail,
and its error match. ``@ collection id`` waits for a status; ``gone`` is one.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import mock

from cinderclient import exceptions

from tests.system.clients import User, until

#: (line, pattern), in order.
Story = list[tuple[str, str]]

#: Runs a program with these words; returns its exit code.
Program = Callable[[list[str]], int]


def cinder(words: list[str]) -> int:
    """python-cinderclient's ``cinder``, as its script starts it."""
    from cinderclient import shell

    with mock.patch.object(sys, 'argv', ['cinder', *words]):
        shell.main()
    return 0


def openstack(words: list[str]) -> int:
    """python-openstackclient's ``openstack``, as its script starts it."""
    from openstackclient import shell

    return int(shell.main(words))


class Teller:
    """Runs stories of one program as one user."""

    def __init__(self, user: User, program: Program, environment: Mapping[str, str]) -> None:
        self.user, self._program, self._environment = user, program, environment

    def tell(self, story: Story, **facts: str) -> None:
        for template, pattern in story:
            line = template.format(**facts)
            if line.startswith('@ '):
                self._wait(*line.split()[1:], pattern)
                continue
            code, out, err = self.run(shlex.split(line.removeprefix('! ')))
            said = err if line.startswith('! ') else out
            assert (code != 0) == line.startswith('! '), f'{line}: {code}\n{out}{err}'
            match = re.search(pattern.format(**{k: re.escape(v) for k, v in facts.items()}), said, re.DOTALL)
            assert match, f'{line}: {pattern!r} is not in\n{out}{err}'
            facts |= match.groupdict()

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Exit code, output and errors of one line."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self._environment),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                code = self._program(words)
            except SystemExit as left:
                code = int(left.code or 0)
        return code, out.getvalue(), err.getvalue()

    def _wait(self, collection: str, id: str, status: str) -> None:
        manager = getattr(self.user.cinder, collection)
        if status == 'gone':
            until(lambda: _gone(manager, id))
        else:
            self.user.wait(manager, id, status)


def _gone(manager: Any, id: str) -> bool:
    try:
        manager.get(id)
    except exceptions.NotFound:
        return True
    return False


def lines(stories: Iterable[Story]) -> list[str]:
    """The lines that are commands."""
    return [line.removeprefix('! ') for story in stories for line, _ in story if not line.startswith('@ ')]
