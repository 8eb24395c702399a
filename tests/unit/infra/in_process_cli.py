"""The real AWS CLI without a process for each command: its driver runs here, and moto answers its SDK."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
from typing import Any

from infra.deploy import Aws
from infra.stage import Refused


@functools.cache
def driver() -> Any:
    from awscli.clidriver import create_clidriver

    return create_clidriver()


class InProcessCli(Aws):
    """Commands run under ``moto.mock_aws``. ``failing`` is a verb that fails once, before it reaches AWS."""

    def __init__(self, region: str = 'us-east-1') -> None:
        super().__init__(sys.executable, region, None)
        self._region = region
        self.commands: list[tuple[str, ...]] = []
        self.failing = ''

    def run(self, *words: str) -> str:
        self.commands.append(words)
        if self.failing and words[1] == self.failing:
            self.failing = ''
            raise Refused('An error occurred (InternalServerError)')
        status, out, error = self._answer(words)
        if status != 0:
            raise Refused(f'aws {words[0]} {words[1]} failed: {error.strip()}')
        return out.strip()

    def succeeds(self, *words: str) -> bool:
        return self._answer(words)[0] == 0

    def verbs(self) -> list[str]:
        return [words[1] for words in self.commands]

    def _answer(self, words: tuple[str, ...]) -> tuple[int, str, str]:
        out, error = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = driver().main(['--region', self._region, *words])
        return int(status), out.buffer.getvalue().decode(), error.getvalue()  # type: ignore[attr-defined]
