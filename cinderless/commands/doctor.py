"""``cinderless doctor``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED as FAILED_CODE
from cinderless.instance import state_dir_option
from cinderless.output import json_option, print_json, print_table


@click.command()
@state_dir_option
@click.option('--stage', help='Check the deployment of deploy/STAGE.yaml instead of this machine.')
@profile_option
@json_option
def doctor(state_dir: Path, stage: str | None, profile: str | None, as_json: bool) -> int:
    """Check this machine, or with --stage a deployment, and show what to do.

    It changes nothing. Exit code 1: a check failed. Warnings do not fail.
    """
    from cinderless import checks

    environment = {**os.environ, 'STATE_DIR': str(state_dir)}
    results = list(checks.deployment(stage, profile) if stage else checks.machine(state_dir, environment))
    if as_json:
        print_json([each._asdict() for each in results])
    else:
        print_table(['check', 'result', 'found'], [each[:3] for each in results])
        for each in results:
            if each.advice:
                click.echo(f'{each.check}: {each.advice}')
    return FAILED_CODE if any(each.result == checks.FAILED for each in results) else 0
