"""The deployment that records are written to: a local cloud, or a stack on AWS.

The program takes the settings of a function of the deployment, so that it writes the records as that function would.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cinderless.errors import REFUSED, Failure
from cinderless.instance import client, running

#: The stack of a local cloud.
LOCAL_STACK = 'cinderless'

#: The function whose settings are taken, without its stack: it has the key that seals secrets.
FUNCTION = 'volume_worker'


def connect(state_dir: Path, stage: str | None, profile: str | None) -> None:
    """Have this process use a deployment; call it before any record is imported. Raises Failure for a missing one."""
    if stage is None:
        _use_local_cloud(state_dir)
    else:
        _use_stack(stage, profile)


def _use_local_cloud(state_dir: Path) -> None:
    found = running(state_dir)
    ready = found.ready
    os.environ |= {
        'AWS_ENDPOINT_URL': ready['aws'],
        'AWS_ACCESS_KEY_ID': ready['access_key'],
        'AWS_SECRET_ACCESS_KEY': ready['secret_key'],
        'AWS_REGION': ready['region'],
        'AWS_DEFAULT_REGION': ready['region'],
    }
    _take_settings(client(found, 'lambda'), LOCAL_STACK)


def _use_stack(stage: str, profile: str | None) -> None:
    import boto3

    from infra.stage import load

    settings = load(stage, checked=False)
    os.environ |= {'AWS_REGION': settings.region, 'AWS_DEFAULT_REGION': settings.region}
    if profile:
        os.environ |= {'AWS_PROFILE': profile}
    _take_settings(boto3.Session(region_name=settings.region).client('lambda'), settings.stack)


def _take_settings(functions: Any, stack: str) -> None:
    name = f'{stack}-{FUNCTION}'
    try:
        facts = functions.get_function_configuration(FunctionName=name)
    except functions.exceptions.ResourceNotFoundException:
        raise Failure(f'there is no function {name}: is the stack {stack} deployed?', REFUSED) from None
    os.environ |= {key: str(value) for key, value in facts['Environment']['Variables'].items() if key.isupper()}


def pools() -> list[str]:
    """Return the pools that the deployment's backends report."""
    from chalicelib.models import Pool, base

    return [pool.id for pool in base.every(Pool, base.GLOBAL)]
