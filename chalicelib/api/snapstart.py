"""Hooks of Lambda's SnapStart: what is loaded before a snapshot, and what each environment restored from it replaces.

All environments restored from one snapshot begin with the same memory. Whatever must differ between them is made again:
the random generator of ``random`` (retries of two environments would otherwise come together), connections, and
everything that was read with an age. Ids, tokens and nonces are from the operating system's generator at each use
(``uuid4``, ``secrets``), which Lambda seeds again. https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

from __future__ import annotations

import importlib
import os
import random
from collections.abc import Callable
from typing import Any

#: Module of AWS's runtime with the two hooks; it exists in Lambda's Python 3.12 and later only.
HOOKS = 'snapshot_restore_py'

#: Lambda's value of AWS_LAMBDA_INITIALIZATION_TYPE where a snapshot is made or was restored.
SNAP_START = 'snap-start'

#: Modules that requests import at their first use: in the snapshot they cost nothing.
WARM = (
    'chalicelib.aws',
    'chalicelib.api.volumes',
    'chalicelib.identity.validation',
    'chalicelib.models.connection',
    'chalicelib.operations.volumes',
)


def register() -> None:
    """Register the hooks if this environment is of a function with SnapStart."""
    if os.environ.get('AWS_LAMBDA_INITIALIZATION_TYPE') != SNAP_START:
        return
    hooks = importlib.import_module(HOOKS)
    hooks.register_before_snapshot(before_snapshot)
    hooks.register_after_restore(after_restore)


def before_snapshot() -> None:
    """Import what requests need, and create clients: neither connects to anything."""
    for name in WARM:
        importlib.import_module(name)
    from chalicelib import aws

    for service in ('sqs', 'kms', 'ssm'):
        aws.client(service)
    aws.invoker()


def after_restore() -> None:
    """Replace what environments of one snapshot must not share."""
    random.seed()
    for forget in _forgetters():
        forget()


def _forgetters() -> list[Callable[[], Any]]:
    from chalicelib import aws
    from chalicelib.models import connection, reading
    from chalicelib.operations import pools, volume_types

    return [
        _close_connections,
        aws.forget_documents,
        connection.connection.cache_clear,
        pools.forget,
        reading.forget,
        volume_types.forget,
    ]


def _close_connections() -> None:
    """Close the pools of connections: the other end saw them end when the snapshot was made."""
    from chalicelib import aws

    for client in aws.clients():
        client._endpoint.http_session.close()
