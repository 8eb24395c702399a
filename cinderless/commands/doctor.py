"""``cinderless doctor``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED as FAILED_CODE
from cinderless.instance import state_dir_option
from cinderless.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from cinderless.checks import Result

#: Seconds between two looks, and the check whose failure no waiting changes (stage, credentials).
PAUSE, FINAL = 15.0, 'deployment'


@click.command()
@state_dir_option
@click.option('--stage', help='Check the deployment of deploy/STAGE.yaml instead of this machine.')
@profile_option
@click.option('--wait', type=click.IntRange(0, 3600), default=0, metavar='SECONDS', help='Repeat while a check fails.')
@json_option
def doctor(state_dir: Path, stage: str | None, profile: str | None, wait: int, as_json: bool) -> int:
    """Check this machine, or with --stage a deployment, and show what to do.

    It changes nothing. Exit code 1: a check failed. Warnings do not fail. A stack that was just deployed reports its
    pools within minutes: --wait 600.
    """
    from cinderless import checks

    environment = {**os.environ, 'STATE_DIR': str(state_dir)}

    def look() -> list[Result]:
        return list(checks.deployment(stage, profile) if stage else checks.machine(state_dir, environment))

    results, until = look(), time.monotonic() + wait
    while _fails(results) and results[-1].check != FINAL and time.monotonic() < until:
        click.echo(f'{", ".join(each.check for each in results if each.result == checks.FAILED)}: waiting', err=True)
        time.sleep(PAUSE)
        results = look()
    if as_json:
        print_json([each._asdict() for each in results])
    else:
        print_table(['check', 'result', 'found'], [each[:3] for each in results])
        for each in results:
            if each.advice:
                click.echo(f'{each.check}: {each.advice}')
    return FAILED_CODE if _fails(results) else 0


def _fails(results: Iterable[Result]) -> bool:
    from cinderless import checks

    return any(each.result == checks.FAILED for each in results)
