"""``cinderless status``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cinderless.errors import FAILED, NOT_RUNNING
from cinderless.instance import Instance, client, find, state_dir_option
from cinderless.output import json_option, print_facts, print_json, size
from local.state import KEPT, MARKER

#: Tables whose items are counted.
COUNTED = ('volumes', 'snapshots', 'backups')


@click.command()
@state_dir_option
@json_option
def status(state_dir: Path, as_json: bool) -> int:
    """Show whether a local cloud runs, where it is, and what its state folder holds.

    Exit code 3: it does not run, or is not ready yet. 1: it runs, and its API does not answer.
    """
    found = find(state_dir)
    facts = dict(_facts(found))
    if as_json:
        print_json(facts)
    else:
        print_facts(_lines(facts))
    if facts['status'] != 'running':
        return NOT_RUNNING
    return FAILED if facts['api'] is None else 0


def _facts(found: Instance) -> Iterator[tuple[str, Any]]:
    yield 'status', 'running' if found.ready else 'starting' if found.pid else 'stopped'
    yield 'state_dir', str(found.folder)
    yield 'pid', found.pid
    yield 'started', found.started or None
    yield 'ports', found.ports
    yield 'durable', _is_durable(found.folder)
    yield 'stored', {part: used(found.folder / part) for part in (*KEPT, 'logs') if (found.folder / part).is_dir()}
    if found.ready:
        yield 'urls', {name: found.ready[name] for name in ('volume', 'identity', 'aws', 'iscsi')}
        yield 'api', _answered(found.ready['volume'])
        yield 'records', _counts(found)


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, object]]:
    by = f' (pid {facts["pid"]}, since {facts["started"]})' if facts['pid'] else ''
    yield 'status', f'{facts["status"]}{by}'
    yield from facts.get('urls', {}).items()
    if 'api' in facts:
        yield 'API', 'does not answer' if facts['api'] is None else f'answers in {facts["api"] * 1000:.0f} ms'
        yield 'records', ', '.join(f'{count} {name}' for name, count in facts['records'].items())
    yield 'state folder', facts['state_dir']
    kinds = {True: 'kept over a stop', False: 'in memory: lost at the stop', None: 'nothing is stored'}
    yield 'state', kinds[facts['durable']]
    yield 'stored', ', '.join(f'{name} {size(count)}' for name, count in facts['stored'].items()) or 'nothing'


def _is_durable(folder: Path) -> bool | None:
    """None for a folder without a state, or with one that this program cannot read."""
    try:
        return bool(json.loads((folder / MARKER).read_text())['durable'])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def used(folder: Path) -> int:
    """Bytes that a folder's files take on the disk; holes take none."""
    return sum(path.lstat().st_blocks * 512 for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _answered(url: str) -> float | None:
    """Seconds of a request for the versions, which need no token; None without an answer."""
    from cinderless.checks import OK, check_api

    began = time.monotonic()
    is_there = check_api(url.removesuffix('v3')).result == OK
    return time.monotonic() - began if is_there else None


def _counts(found: Instance) -> dict[str, int]:
    tables, names = client(found, 'dynamodb'), found.ready['tables']
    return {name: tables.describe_table(TableName=names[name])['Table']['ItemCount'] for name in COUNTED}
