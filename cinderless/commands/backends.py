"""``cinderless backends``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED, Failure
from cinderless.instance import client, running, state_dir_option
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group

#: Names of the local cloud's stack, table and parameter.
LOCAL_STACK = 'cinderless'


@click.group(cls=Group)
def backends() -> None:
    """Check a backends document, or show the backends in use."""


@backends.command()
@click.argument('file', type=click.Path(path_type=Path))
@json_option
def check(file: Path, as_json: bool) -> None:
    """Check the form, drivers, options and references to secrets of a document. Reaches no backend."""
    from chalicelib.errors import BackendMisconfigured
    from infra import backends

    try:
        found = backends.check(file.read_bytes())
    except BackendMisconfigured as error:
        raise Failure(f'{file}: {error.message}') from None
    drivers = {host: found.backend(host).driver for host in found.names()}
    if as_json:
        print_json(drivers)
    for host, driver in {} if as_json else drivers.items():
        click.echo(f'{host}: {driver}')


@backends.command()
@state_dir_option
@click.option('--stage', help='The backends of the deployment of deploy/STAGE.yaml, instead of the local cloud.')
@profile_option
@json_option
def show(state_dir: Path, stage: str | None, profile: str | None, as_json: bool) -> int:
    """Show each pool: zone, capacity in GiB, volumes, and its last report.

    Exit code 1: a backend has not reported yet, or its report was rejected.
    """
    stack, clients = clients_of(state_dir, stage, profile)
    document = json.loads(clients('ssm').get_parameter(Name=f'/{stack}/backends')['Parameter']['Value'])
    pools = list(_pools(clients('dynamodb'), f'{stack}-pools'))
    rows = [row for backend in document['backends'] for row in _rows(document, backend, pools)]
    if as_json:
        print_json(rows)
    else:
        print_table(list(rows[0]) if rows else ['pool'], [list(row.values()) for row in rows])
    return FAILED if any(row['problem'] for row in rows) else 0


def clients_of(state_dir: Path, stage: str | None, profile: str | None) -> tuple[str, Any]:
    """Return the name of the stack of a stage, or of the running local cloud, and what makes SDK clients for it."""
    return _deployed(stage, profile) if stage else _local(state_dir)


def _local(state_dir: Path) -> tuple[str, Any]:
    found = running(state_dir)
    return LOCAL_STACK, lambda service: client(found, service)


def _deployed(stage: str, profile: str | None) -> tuple[str, Any]:
    import boto3

    from infra.stage import load

    settings = load(stage, checked=False)
    session = boto3.Session(profile_name=profile, region_name=settings.region)
    return settings.stack, session.client


def _pools(dynamodb: Any, table: str) -> Iterator[dict[str, Any]]:
    """Yield the records of the pools, as plain values."""
    from boto3.dynamodb.types import TypeDeserializer

    plain = TypeDeserializer()
    for page in dynamodb.get_paginator('scan').paginate(TableName=table):
        for item in page['Items']:
            yield {name: plain.deserialize(value) for name, value in item.items()}


def _rows(document: dict[str, Any], backend: dict[str, Any], pools: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    host = f'{document.get("host", "cinderless")}@{backend["name"]}'
    found = [pool for pool in pools if pool['id'].partition('#')[0] == host]
    for pool in sorted(found, key=lambda pool: str(pool['id'])):
        report = json.loads(pool['report']) if isinstance(pool.get('report'), str) else pool.get('report') or {}
        yield {
            'pool': pool['id'],
            'driver': backend['driver'],
            'zone': pool.get('availability_zone', '-'),
            'total': report.get('total_capacity_gb', '-'),
            'free': report.get('free_capacity_gb', '-'),
            'volumes': int(pool.get('volume_count', 0)),
            'reported': pool.get('reported_at', '-'),
            'problem': pool.get('warning') or '',
        }
    if not found:
        blank = dict.fromkeys(('zone', 'total', 'free', 'volumes', 'reported'), '-')
        yield {'pool': host, 'driver': backend['driver'], **blank, 'problem': 'no report yet'}
