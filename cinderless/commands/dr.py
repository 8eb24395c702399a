"""``cinderless dr``: rebuild the service in another region."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cinderless.commands.deploy import profile_option
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group
from cinderless.progress import progress

if TYPE_CHECKING:
    from infra.deploy import Deployed
    from infra.disaster import Plan
    from infra.stage import Stage

Command = TypeVar('Command', bound=Callable[..., Any])


@click.group(cls=Group)
def dr() -> None:
    """Rebuild a lost service in another region: settings from exports of its tables, backups from their copies.

    STAGE is a new stack in the other region, deployed and not yet used. EXPORTS is the place of the exports
    (s3://bucket/prefix), STACK the name of the lost stack.
    """


def _sources(command: Command) -> Command:
    options = (
        click.argument('stage'),
        click.argument('exports'),
        click.argument('stack'),
        click.option(
            '--before', default='9', metavar='TIME', help='Use exports of a state up to TIME (ISO 8601, UTC).'
        ),
        profile_option,
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


@dr.command()
@_sources
@json_option
def plan(stage: str, exports: str, stack: str, before: str, profile: str | None, as_json: bool) -> None:
    """Show what a restore would write, from which exports, and what is lost. Changes nothing."""
    from infra import disaster
    from infra.stage import Refused

    target, aws, planned = _planned(stage, exports, stack, before, profile)
    obstacle = ''
    try:
        disaster.check_target(planned, target.stack, dict(_deployed(target, profile).parameters or {}), aws('dynamodb'))
    except Refused as refused:
        obstacle = str(refused)
    rows = [
        (name, len(items), planned.exports[name].items, planned.exports[name].time)
        for name, items in planned.items.items()
    ]
    if as_json:
        tables = [dict(zip(('table', 'restored', 'exported', 'time'), row, strict=True)) for row in rows]
        print_json(
            {
                'tables': tables,
                'lost': planned.lost,
                'buckets': planned.buckets,
                'keys': len(planned.keys),
                'obstacle': obstacle,
            }
        )
        return
    print_table(('table', 'restored', 'exported', 'state of'), rows)
    click.echo(f'keys of encrypted volumes that the copies carry: {len(planned.keys)}')
    click.echo('\n'.join(['not restored:', *(f'  {line}' for line in planned.lost)]))
    click.echo(
        f'a restore is refused now: {obstacle}' if obstacle else f'cinderless dr restore writes to {target.stack}'
    )


@dr.command()
@_sources
def restore(stage: str, exports: str, stack: str, before: str, profile: str | None) -> None:
    """Write settings and records of copied backups to the stage's tables. Safe to repeat.

    The keys of encrypted volumes come from the copies into the stack's key manager. Nothing is overwritten: a stack
    that has other records is refused before the first write.
    """
    from infra import disaster
    from infra.disaster_keys import KeyManager

    target, aws, planned = _planned(stage, exports, stack, before, profile)
    found = _deployed(target, profile)
    disaster.check_target(planned, target.stack, dict(found.parameters or {}), aws('dynamodb'))
    manager = KeyManager(target.stack, target.region, found.outputs.get('KeyArn', ''), aws)
    keys, damaged = disaster.restore_keys(planned, manager)
    written = disaster.restore(planned, target.stack, aws('dynamodb'), progress)
    click.echo(f'{written} records written to {target.stack}, {len(planned.items["backups"])} backups restored')
    click.echo(f'{keys} keys of encrypted volumes written, of {len(planned.keys)} that the copies carry')
    click.echo(''.join(f'{line}\n' for line in damaged), nl=False, err=True)


def _planned(
    stage: str, exports: str, stack: str, before: str, profile: str | None
) -> tuple[Stage, Callable[..., Any], Plan]:
    import boto3

    from infra import disaster
    from infra.exports import place
    from infra.stage import load

    target = load(stage, checked=False)
    session = boto3.Session(profile_name=profile, region_name=target.region)

    @functools.cache
    def aws(service: str, region: str = target.region) -> Any:
        return session.client(service, region_name=region)

    source = disaster.read(aws('s3'), place(exports), stack, before)
    return target, aws, disaster.plan(source, disaster.object_exists(aws('s3')))


def _deployed(target: Stage, profile: str | None) -> Deployed:
    """Return the deployed stack. Raises Refused without a complete one."""
    from cinderless.checks import Quiet
    from infra import deploy
    from infra.stage import Refused

    aws: Any = Quiet(deploy.Aws(deploy.program(), target.region, profile or None))
    deploy.caller(target, aws)
    found = deploy.deployed(target, aws)
    if found.parameters is None or found.status in deploy.NEVER_COMPLETE:
        raise Refused(f'the stack {target.stack} is {found.status or "not there"}: deploy the stage first')
    return found
