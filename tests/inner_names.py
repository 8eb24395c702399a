"""Names of the inside that no user may read, in a text such as a driver raises."""

from __future__ import annotations

#: Backends, pools, hosts, addresses, other tenants' initiators, ARNs and ids of AWS, tables, classes.
INNER = (
    'cinderless@big',
    'cinderless@fast',
    '#pool',
    'agent-7.storage.internal',
    '10.9.8.7',
    ':18700',
    'iqn.1998-01.com.vmware:other-tenant',
    'arn:aws:ec2:eu-west-1:123456789012',
    'vol-0abcdef0123456789',
    'cinderless-volumes',
    'UnauthorizedOperation',
    'LvmThinStore',
    '/var/lib/agent',
    '98.5 GiB',
)

TEXT = f'{", ".join(INNER)} refused it'


def inner_names_in(text: str) -> list[str]:
    return [name for name in INNER if name in text]
