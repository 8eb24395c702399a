"""Output of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar('Command', bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option('--json', 'as_json', is_flag=True, help='Print JSON, for programs.')(command)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=1, default=str))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns that are as wide as their longest cell; the last one is not padded."""
    lines = [[head.upper() for head in heads], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        click.echo('  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print one fact a line, its name first."""
    rows = list(facts)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f'{name.ljust(width)}  {value}')


def size(count: float) -> str:
    """Bytes, as text in a unit that fits."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024:
            return f'{count:.0f} {unit}' if unit == 'B' else f'{count:.1f} {unit}'
        count /= 1024
    return f'{count:.1f} TiB'
