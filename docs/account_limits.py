"""docs/account-limits.md: the limits of AWS that a deployment relies on, from infra/quotas.py."""

from __future__ import annotations

from infra import quotas
from infra.quotas import Quota

PAGE = """# Limits of the account

The limits that AWS sets for an account and region, and that a deployment relies on. `make deploy` compares them with
the account before it builds or uploads anything, and prints a line for each that would be exceeded: what, value,
allowed, how to raise it. Generated from [`infra/quotas.py`](../infra/quotas.py): `make docs`.

The defaults fit a new account, which has 10 concurrent executions and functions of at most 3,008 MB. AWS raises both
with use, or on request.

| limit | service | new account | AWS default | Service Quotas | if it is exceeded |
|---|---|---|---|---|---|
{rows}

A limit without a code cannot be read from Service Quotas. The memory of functions cannot be read at all: an account
with less than 1,000 concurrent executions counts as new, unless one of its functions has more. Where the credentials
may not ask (`servicequotas:GetServiceQuota`, `lambda:GetAccountSettings`, `lambda:ListFunctions`,
`iam:GetAccountSummary`) the AWS default is assumed, and a note says so.

## Concurrency of Lambda

All functions of an account share its concurrent executions. A backup or restore uses `BackupConcurrency` of them for as
long as it copies, a synchronous call of the API two (`api` and `volume_worker`).

| account's limit | parameters |
|---|---|
{sizes}

`BackupWorkerReservedConcurrency` is the most that all backups and restores together use, so that scheduled backups
never take what the API needs. It is also reserved for them: Lambda keeps 100 of an account unreserved, 10 where the
limit is below 1,000.
"""

#: (the account's concurrent executions, what to set).
SIZES = (
    (
        '10',
        'the defaults; two backups at the same time leave 2 for the rest, so ask for more before schedules run many',
    ),
    ('100', '`BackupWorkerReservedConcurrency: 40`'),
    ('1,000', '`BackupWorkerReservedConcurrency: 200`, `BackupConcurrency: 8`, `BackupWorkerMemory: 3538`'),
    ('shared with other applications', 'also `ApiReservedConcurrency`'),
)


def page() -> str:
    """docs/account-limits.md."""
    rows, sizes = map(_row, quotas.QUOTAS), (f'| {limit} | {given} |' for limit, given in SIZES)
    return PAGE.format(rows='\n'.join(rows), sizes='\n'.join(sizes))


def _row(quota: Quota) -> str:
    unit = f' {quota.unit}' if quota.unit else ''
    what = f'{quota.what} | {quota.service} | {quota.new:,}{unit} | {quota.default:,}{unit}'
    return f'| {what} | {quota.code} | {quota.advice} |'
