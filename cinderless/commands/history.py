"""``cinderless history``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import click

from cinderless.errors import FAILED, NOT_RUNNING, REFUSED, Failure
from cinderless.instance import client, find, state_dir_option
from cinderless.output import json_option, print_json

#: Operations that are listed without an id.
LISTED = 20


class Source(NamedTuple):
    """What a history is made of. The clients are None where no service runs."""

    lines: Iterable[dict[str, Any]]
    states: Any
    dynamodb: Any
    stack: str


@click.command()
@click.argument('id', required=False)
@state_dir_option
@click.option('--stack', help='Read a deployment: its stack on AWS, instead of a local cloud.')
@click.option('--profile', help='With --stack: a profile of the AWS CLI.')
@click.option('--region', help="With --stack: its region; default: the profile's.")
@click.option('--days', type=click.FloatRange(min=0, min_open=True), default=7.0, show_default=True,
              help='With --stack: days to look back in CloudWatch Logs.')  # fmt: skip
@json_option
def history(
    id: str | None,
    state_dir: Path,
    stack: str | None,
    profile: str | None,
    region: str | None,
    days: float,
    as_json: bool,
) -> int:
    """Show everything that happened to a request, volume, snapshot, backup or execution, oldest first.

    ID is the x-openstack-request-id of an answer (req-...), the id of a resource, or the name or ARN of an execution.
    Without an ID: the newest operations of all projects.
    """
    from infra import history

    if id is not None and not history.is_id(id):
        raise Failure(f'{id!r} is not an id: give one of a request, a resource or an execution', REFUSED)
    source = _deployed(id, stack, profile, region, days) if stack else _local(id, state_dir)
    return _list(source, as_json) if id is None else _show(id, source, as_json)


def _list(source: Source, as_json: bool) -> int:
    from infra import logged_operations

    if source.dynamodb is None:
        raise Failure(
            'no local cloud runs: give an id to read its logs, or start it with cinderless serve', NOT_RUNNING
        )
    try:
        found = logged_operations.newest(LISTED, source.stack, source.dynamodb)
    except logged_operations.Unreadable as error:
        raise Failure(str(error)) from error
    if as_json:
        print_json([each._asdict() for each in found])
    for each in () if as_json else found:
        click.echo(logged_operations.line(each))
    if not found:
        click.echo('there are no operations', err=True)
    return 0


def _show(id: str, source: Source, as_json: bool) -> int:
    from infra import history, logged_operations

    events = history.story(source.lines, source.states, [id] if id.startswith('arn:') else [])
    if source.dynamodb is not None:
        try:
            operations = logged_operations.about(id, source.stack, source.dynamodb)
        except logged_operations.Unreadable as error:
            click.echo(str(error), err=True)
            operations = []
        events = sorted([*events, *(event for each in operations for event in logged_operations.events(each))])
    if as_json:
        print_json([event._asdict() for event in events])
    for event in () if as_json else events:
        click.echo(f'{event.time}  {event.who:15} {event.what}')
    if not events:
        click.echo(f'nothing is known of {id}', err=True)
    return 0 if events else FAILED


def _local(id: str | None, state_dir: Path) -> Source:
    """The logs are there also when the local cloud has stopped; its executions and operations are not."""
    from infra import history
    from local.settings import STACK

    found = find(state_dir)
    lines = history.from_files(id, found.logs) if id else ()
    if not found.ready:
        return Source(lines, None, None, STACK)
    return Source(lines, client(found, 'stepfunctions'), client(found, 'dynamodb'), STACK)


def _deployed(id: str | None, stack: str, profile: str | None, region: str | None, days: float) -> Source:
    import boto3

    from infra import history

    session = boto3.Session(profile_name=profile, region_name=region)
    lines = history.from_cloudwatch(id, stack, days, session.client('logs')) if id else ()
    return Source(lines, session.client('stepfunctions'), session.client('dynamodb'), stack)
