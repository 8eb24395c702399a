"""``cinderless state``: move a local cloud to another folder or machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import click

from cinderless.errors import REFUSED, Failure
from cinderless.instance import find, state_dir_option
from cinderless.output import size
from cinderless.program import Group
from cinderless.progress import progress

#: Standard input or output in the place of a file.
PIPE = '-'

_FILE = click.Path(path_type=Path, allow_dash=True)


@click.group(cls=Group)
def state() -> None:
    """Export the whole state of a local cloud to one archive, and import it elsewhere.

    The archive has volumes, snapshots, backups, records, users, keys and secrets. Keep it as safe as the state folder.
    """


@state.command()
@click.argument('file', type=_FILE)
@state_dir_option
def export(file: Path, state_dir: Path) -> None:
    """Write the state to a new FILE, or to standard output (-).

    The local cloud may run. Its writes then wait while its files are copied beside the state, and everything that was
    acknowledged before is in the archive.
    """
    from cinderless import archive

    folder = find(state_dir).folder
    with ExitStack() as undo:
        stream, finish = _output(file, undo)
        source = undo.enter_context(archive.source(folder, progress))
        with progress('export', source.size) as show:
            archive.write(source, stream, show)
        finish()
    if str(file) != PIPE:
        click.echo(f'{folder} is in {file} ({size(file.stat().st_size)}): cinderless state import {file} reads it')


@state.command('import')
@click.argument('file', type=_FILE)
@state_dir_option
def import_(file: Path, state_dir: Path) -> None:
    """Make a new state folder from FILE, or from standard input (-).

    The folder must not exist or be empty. cinderless serve starts the local cloud with it.
    """
    from cinderless import archive

    folder = state_dir.absolute()
    os.umask(0o077)
    with ExitStack() as undo:
        stream = sys.stdin.buffer if str(file) == PIPE else undo.enter_context(file.open('rb'))

        def begin(total: int) -> Callable[[int], None]:
            return undo.enter_context(progress('import', total))

        head = archive.read(stream, folder, begin)
    click.echo(f'{folder} has the state of {head["created"]}: cinderless serve --state-dir {folder} starts it')


def _output(file: Path, undo: ExitStack) -> tuple[BinaryIO, Callable[[], None]]:
    """Return the stream for an archive, and what names it once it is complete. Raises Failure for an existing file."""
    if str(file) == PIPE:
        if sys.stdout.isatty():
            raise Failure('standard output is a terminal: name a file, or pipe it to another program', REFUSED)
        return sys.stdout.buffer, sys.stdout.buffer.flush
    if file.exists():
        raise Failure(f'{file} exists: name a new file, or remove it', REFUSED)
    partial = file.with_name(file.name + '.partial')
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    stream = undo.enter_context(os.fdopen(descriptor, 'wb'))
    undo.callback(partial.unlink, missing_ok=True)

    def finish() -> None:
        stream.flush()
        os.fsync(stream.fileno())
        partial.rename(file)

    return stream, finish
