"""``cinderless logs``."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from cinderless.instance import find, state_dir_option
from cinderless.output import json_option

#: Seconds between two looks at a file that is followed.
POLL = 0.2

#: Lines that are shown without --lines.
LINES = 50

#: Logs of programs, as plain text, beside the functions' own.
PROGRAMS = ('server', 'dynamodb', 'appliance')


@click.command()
@state_dir_option
@click.option('-f', '--follow', is_flag=True, help='Show new lines until Ctrl-C.')
@click.option('-n', '--lines', type=click.IntRange(min=0), help=f'Last lines (default: {LINES}, or all of an id).')
@click.option('--request', metavar='ID', help='Only lines of a request: req-...')
@click.option('--volume', metavar='ID', help='Only lines of a volume, snapshot, backup or another resource.')
@click.option('--of', type=click.Choice(['functions', *PROGRAMS]), default='functions', show_default=True,
              help='Whose log: the functions, the local cloud itself, DynamoDB Local, the storage agent.')  # fmt: skip
@json_option
def logs(
    state_dir: Path, follow: bool, lines: int | None, request: str | None, volume: str | None, of: str, as_json: bool
) -> None:
    """Show the logs of a local cloud, also after it has stopped.

    They are in the folder logs of the state folder. --json prints the functions' lines as they are stored.
    """
    from infra import history

    ids = [id for id in (request, volume) if id]
    if of != 'functions' and (ids or as_json):
        raise click.UsageError(f'--request, --volume and --json are for the log of the functions, not of {of}')
    folder = find(state_dir).logs
    files = history.log_files(folder) if of == 'functions' else _existing(folder, of)
    current = folder / ('functions.jsonl' if of == 'functions' else f'{of}.log')
    with _Followed(current) as followed:
        wanted = (line for line in _stored(files, current, followed) if _is_wanted(line, ids))
        limit = lines if lines is not None else None if ids else LINES
        for line in wanted if limit is None else deque(wanted, limit):
            _print(line, as_json)
        for line in followed.new() if follow else ():
            if _is_wanted(line, ids):
                _print(line, as_json)


def _existing(folder: Path, program: str) -> list[Path]:
    return sorted(folder.glob(f'{program}.log*'), key=lambda path: path.stat().st_mtime)


def _stored(files: list[Path], current: Path, followed: _Followed) -> Iterator[str]:
    for path in files:
        if path != current:
            with path.open(encoding='utf-8', errors='replace') as file:
                yield from file
    yield from followed.stored()


def _is_wanted(text: str, ids: list[str]) -> bool:
    from infra import history

    return all(id in text and history.concerns(history.parsed(text), id) for id in ids)


def _print(text: str, as_json: bool) -> None:
    from infra import history

    line = {} if as_json else history.parsed(text)
    click.echo(_readable(line) if line else text.rstrip('\n'))


def _readable(line: dict[str, Any]) -> str:
    who = line.get('function', line.get('logger', ''))
    about = ' '.join(str(line[field]) for field in ('request_id', 'id') if field in line)
    text = f'{line.get("timestamp", "")}  {line.get("level", ""):7} {who:15} {line.get("message") or json.dumps(line)}'
    return text + (f'  [{about}]' if about else '') + (f'\n{line["trace"]}' if 'trace' in line else '')


class _Followed:
    """A log file that grows, and is replaced when it is rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> _Followed:
        self._file = self._opened()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def _opened(self) -> TextIO | None:
        try:
            return self._path.open(encoding='utf-8', errors='replace')
        except FileNotFoundError:
            return None

    def stored(self) -> Iterator[str]:
        """Yield the complete lines up to the end."""
        while self._file:
            place = self._file.tell()
            line = self._file.readline()
            if not line.endswith('\n'):
                self._file.seek(place)
                return
            yield line

    def new(self) -> Iterator[str]:
        """Yield each new line; wait for the next one without end."""
        for _ in itertools.count():
            yield from self.stored()
            if self._was_replaced():
                yield from self.stored()
                self.__exit__()
                self._file = self._opened()
            else:
                time.sleep(POLL)

    def _was_replaced(self) -> bool:
        if self._file is None:
            return self._path.exists()
        try:
            return not self._path.samefile(f'/proc/self/fd/{self._file.fileno()}')
        except FileNotFoundError:
            return False
