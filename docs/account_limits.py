"""docs/reference/account-limits.md: the AWS limits that a deployment relies on, from infra/quotas.py."""

from __future__ import annotations

from infra import quotas
from infra.quotas import Quota

PAGE = """# Account limits

The AWS limits of an account and region that a deployment relies on. Before it builds or uploads anything, `make deploy`
compares the account with them and prints a line for each limit that the deployment would exceed: the limit, the value,
what is allowed and how to raise it. Generated from [`infra/quotas.py`](../../infra/quotas.py): `make docs`.

The defaults fit a new account, which has 10 concurrent executions and functions of at most 3,008 MB. AWS raises both
automatically with use, or on request.

| limit | service | new account | AWS default | Service Quotas | if it is exceeded |
|---|---|---|---|---|---|
{rows}

A limit without a code cannot be read from Service Quotas. The memory of functions cannot be read at all: an account
with less than 1,000 concurrent executions counts as new, unless one of its functions has more memory. If the
credentials lack a permission (`servicequotas:GetServiceQuota`, `lambda:GetAccountSettings`, `lambda:ListFunctions`,
`iam:GetAccountSummary`), the command assumes the AWS default and prints a note.

## Concurrency of Lambda

All functions of an account share its concurrent executions. A backup or restore uses `BackupConcurrency` of them
while it copies, a synchronous call of the API two (`api` and `volume_worker`).

| account's limit | parameters |
|---|---|
{sizes}

`BackupWorkerReservedConcurrency` limits all backups and restores together, so that scheduled backups leave enough for
the API. It is also reserved for them. Lambda keeps 100 executions of an account unreserved, 10 if the limit is below
1,000.
"""

#: (the account's concurrent executions, parameters to set).
SIZES = (
    (
        '10',
        'the defaults; two backups at the same time leave 2 executions, so request more before many schedules run',
    ),
    ('100', '`BackupWorkerReservedConcurrency: 40`'),
    ('1,000', '`BackupWorkerReservedConcurrency: 200`, `BackupConcurrency: 8`, `BackupWorkerMemory: 3538`'),
    ('shared with other applications', 'also `ApiReservedConcurrency`'),
)


def page() -> str:
    """docs/reference/account-limits.md."""
    rows, sizes = map(_row, quotas.QUOTAS), (f'| {limit} | {given} |' for limit, given in SIZES)
    return PAGE.format(rows='\n'.join(rows), sizes='\n'.join(sizes))


def _row(quota: Quota) -> str:
    unit = f' {quota.unit}' if quota.unit else ''
    what = f'{quota.what} | {quota.service} | {quota.new:,}{unit} | {quota.default:,}{unit}'
    return f'| {what} | {quota.code} | {quota.advice} |'
