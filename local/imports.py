"""moto's models of services that no template here has are not imported: they cost a third of the boot.

moto's CloudFormation imports every service that has a resource type, and its Step Functions imports Batch for a list of
statuses. A service that is called later is imported then, as ever.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

#: Services that moto imports, and the local cloud does not use before it is ready.
SPARED = (
    *('apigateway', 'autoscaling', 'batch', 'datapipeline', 'ec2', 'ecs', 'efs', 'elb', 'elbv2', 'emr', 'iot'),
    *('rds', 'redshift', 'route53', 'sagemaker'),
)


class _Names(type):
    """Of a class that has every name: what an enumeration is imported for."""

    def __getattr__(cls, name: str) -> str:
        return name


class _Absent(types.ModuleType):
    """Has every name, as an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return _Names(name, (), {})


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Let what is imported meanwhile find empty modules in the place of services that are not imported yet."""
    names = [f'moto.{service}{part}' for service in SPARED for part in ('', '.models', '.models.core', '.utils')]
    absent = {name: _Absent(name) for name in names if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
