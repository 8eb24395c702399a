"""``cinderless history``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from cinderless.errors import FAILED, REFUSED, Failure
from cinderless.instance import client, find, state_dir_option
from cinderless.output import json_option, print_json

#: Log lines, a Step Functions client or None.
Source = tuple[Iterable[dict[str, Any]], Any]


@click.command()
@click.argument('id')
@state_dir_option
@click.option('--stack', help='Read a deployment: its stack on AWS, instead of a local cloud.')
@click.option('--profile', help='With --stack: a profile of the AWS CLI.')
@click.option('--region', help="With --stack: its region; default: the profile's.")
@click.option('--days', type=click.FloatRange(min=0, min_open=True), default=7.0, show_default=True,
              help='With --stack: days to look back in CloudWatch Logs.')  # fmt: skip
@json_option
def history(
    id: str, state_dir: Path, stack: str | None, profile: str | None, region: str | None, days: float, as_json: bool
) -> int:
    """Show everything that happened to a request, volume, snapshot, backup or execution, oldest first.

    ID is the x-openstack-request-id of an answer (req-...), the id of a resource, or the name or ARN of an execution.
    """
    from infra import history

    if not history.is_id(id):
        raise Failure(f'{id!r} is not an id: give one of a request, a resource or an execution', REFUSED)
    lines, states = _deployed(id, stack, profile, region, days) if stack else _local(id, state_dir)
    events = history.story(lines, states, [id] if id.startswith('arn:') else [])
    if as_json:
        print_json([event._asdict() for event in events])
    for event in () if as_json else events:
        click.echo(f'{event.time}  {event.who:15} {event.what}')
    if not events:
        click.echo(f'nothing is known of {id}', err=True)
    return 0 if events else FAILED


def _local(id: str, state_dir: Path) -> Source:
    """The logs are there also when the local cloud has stopped; its executions are not."""
    from infra import history

    found = find(state_dir)
    return history.from_files(id, found.logs), client(found, 'stepfunctions') if found.ready else None


def _deployed(id: str, stack: str, profile: str | None, region: str | None, days: float) -> Source:
    import boto3

    from infra import history

    session = boto3.Session(profile_name=profile, region_name=region)
    return history.from_cloudwatch(id, stack, days, session.client('logs')), session.client('stepfunctions')
