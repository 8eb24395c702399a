"""``cinderless deploy``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cinderless.progress import progress

Command = TypeVar('Command', bound=Callable[..., Any])


def profile_option(command: Command) -> Command:
    """Add ``--profile``."""
    return click.option('--profile', help="A profile of the AWS CLI; without one, the AWS CLI's own rules.")(command)


@click.command()
@click.argument('stage')
@profile_option
@click.option('--review', is_flag=True, help='Create the change set and do not execute it.')
def deploy(stage: str, profile: str | None, review: bool) -> None:
    """Package, upload and deploy the stage of deploy/STAGE.yaml. Safe to repeat.

    Stage, credentials, limits and the deployed stack are checked before anything is built or uploaded. Every command
    of the AWS CLI is printed before it runs.
    """
    from infra import deploy, policy_file
    from infra.stage import load

    settings = load(stage)
    for note in policy_file.notes(policy_file.read(settings.parameters.get('PolicyOverrides') or '{}')):
        click.echo(f'note: PolicyOverrides: {note.rule} {note.text}')
    aws = deploy.Aws(deploy.program(), settings.region, profile or None)
    deploy.run(settings, aws, review=review, progress=progress)
