"""``cinderless convert``: from cinder.conf to a backends document and parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinderless.errors import FAILED, REFUSED, Failure
from cinderless.output import json_option, print_json

if TYPE_CHECKING:
    from cinderless.migration.conversion import Conversion


@click.command()
@click.argument('file', type=click.Path(path_type=Path))
@click.option(
    '--output',
    type=click.Path(path_type=Path, file_okay=False),
    metavar='FOLDER',
    help='Write backends.json, parameters.json and hosts.txt there; existing files are never replaced.',
)
@json_option
def convert(file: Path, output: Path | None, as_json: bool) -> int:
    """Convert a cinder.conf: backends, scheduler, default quotas and parameters; list what has no counterpart.

    Passwords are never copied. Exit code 1: an enabled backend has no counterpart here.
    """
    from cinderless.migration import conversion

    done = conversion.convert(file.read_text(encoding='utf-8'))
    if output:
        _write(done, output)
    if as_json:
        print_json({**vars(done), 'notes': [note._asdict() for note in done.notes]})
    else:
        _print(done, output)
    return FAILED if any(line.endswith('-> unmanaged') for line in done.hosts) else 0


def _documents(done: Conversion) -> dict[str, str]:
    return {
        'backends.json': json.dumps(done.backends, indent=1) + '\n',
        'parameters.json': json.dumps(done.parameters, indent=1) + '\n',
        'hosts.txt': '\n'.join(['# old host@backend#pool -> new host@backend#pool', *done.hosts, '']),
    }


def _write(done: Conversion, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    documents = _documents(done)
    existing = [name for name in documents if (folder / name).exists()]
    if existing:
        raise Failure(f'{folder} has {", ".join(existing)} already: name another folder', REFUSED)
    for name, text in documents.items():
        (folder / name).write_text(text, encoding='utf-8')


def _print(done: Conversion, folder: Path | None) -> None:
    for name, text in _documents(done).items():
        click.echo(f'written: {folder / name}' if folder else f'# {name}\n{text}')
    for note in done.notes:
        option = f' {note.option} = {note.value}' if note.option else ''
        click.echo(f'[{note.section}]{option}\n  -> {note.meaning}')
