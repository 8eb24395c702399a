"""``cinderless remove``."""

from __future__ import annotations

import click

from cinderless.commands.deploy import profile_option


@click.command()
@click.argument('stage')
@profile_option
@click.option('--data', default='', metavar='STACK', help="The stack's name: delete its records, backups and key, too.")
def remove(stage: str, profile: str | None, data: str) -> None:
    """Delete the stack of deploy/STAGE.yaml. Safe to repeat.

    Tables, backups and the encryption key stay, and are printed, unless --data names the stack.
    """
    from infra import deploy, remove
    from infra.stage import Refused, load

    settings = load(stage, checked=False)
    if data and data != settings.stack:
        raise Refused(f'--data is {data!r}: to delete all records and backups, give {settings.stack}')
    aws = deploy.Aws(deploy.program(), settings.region, profile or None)
    left = remove.remove(settings, aws, data=bool(data))
    click.echo('\n  '.join(['left:', *left]) if left else 'nothing is left')
