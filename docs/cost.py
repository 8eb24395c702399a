"""docs/reference/cost.md: the cost of recorded calls at list price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

#: {operation: {kind of call: count}}, counted by tests/workflows/test_budgets.py.
CALLS = Path(__file__).with_name('calls.json')

#: {scheduled function: {kind of call: count}} without any work, counted by tests/workflows/test_idle.py.
IDLE_CALLS = Path(__file__).with_name('idle.json')

#: Dollars each, us-east-1 list price of November 2026, no free tier.
PRICES = {
    'request': 3.50e-6,  # API Gateway, REST
    'invoke': 0.20e-6,
    'gb_second': 1.66667e-5,  # Lambda on x86
    'write': 0.625e-6,  # DynamoDB, on demand
    'read': 0.125e-6,
    'message': 0.40e-6,  # SQS, each of send, receive, delete
    'transition': 2.5e-5,  # Step Functions, Standard
    'put': 5e-6,  # S3
    'get': 4e-7,
    'log_gb': 0.50,
    'block_read': 3e-6,  # EBS direct APIs, a block of 512 KiB: GetSnapshotBlock
    'block_write': 6e-6,  # PutSnapshotBlock
    'key_request': 3e-6,  # KMS
    'secret_request': 5e-6,  # Secrets Manager
    'nat_gb': 0.045,  # data that a NAT gateway processes
    'endpoint_gb': 0.01,  # and an interface endpoint
    'zone_gb': 0.02,  # traffic to another zone, $0.01 out of one and into the other
    'key_month': 1.00,  # KMS
    'alarm_month': 0.10,
    'table_gb_month': 0.25 + 0.20,  # DynamoDB's storage and point-in-time recovery
    'snapstart_gb_second': 1.5046e-6,  # cache of a published version of a Python function
    'snapstart_restored_gb': 1.3977e-4,  # each restore
}

#: Seconds that one invoke of a function takes, warm: means of 1,539 requests and 420 tasks (copying among them) in the
#: logs of the system tests' local clouds, on two cores with a load of five. ``start`` is one call, taken as a request.
SECONDS = {'api': 0.024, 'task': 0.141, 'start': 0.024}
#: And its memory in GB.
MEMORY = {'api': 1.0, 'task': 1.0, 'start': 0.5}

#: Bytes of a function's log for one invoke: Lambda's three lines, the function's, and a metric.
LOGGED = 1300

#: A backup's data, per GiB: objects of 32 MiB at half their size after compression, and Lambda with 3,008 MB,
#: which has 85 % of the CPU of the two vCPUs that copy 100 MB/s.
PUTS_PER_GIB, GETS_PER_GIB, SECONDS_PER_GIB, WORKER_GB = 16, 16, 12.6, 2.9375

#: Gigabytes, by which traffic is billed, in a GiB.
GB_PER_GIB = 2**30 / 1e9

#: Blocks of the EBS direct APIs in a GiB.
BLOCKS_PER_GIB = 2048

#: State transitions of a range of a backup or restore for each call of a worker: its task and its choice. A worker
#: copies for up to 14 minutes, so a GiB at 100 MB/s is the 78th part of a call.
TRANSITIONS_PER_TURN, GIB_PER_TURN = 2, 78

#: Seconds that a function keeps a document or secret before it reads it again (chalicelib/aws.py).
DOCUMENT_TTL = 60

#: An idle month has 30 days, one backend, the built-in identity, and up to 100 records. A key that several stacks share
#: (KmsKeyArn) is paid once.
MINUTES = 43_200

#: Alarms of the default parameters, and those that DetailedAlarms adds.
ALARMS, DETAILED_ALARMS = 3, 9

#: Scheduled function -> (minutes between runs, seconds of a run with 512 MB, seconds of the worker that it invokes).
#: DynamoDB answers within 10 ms; 512 MB have 0.29 of a vCPU; a backend answers in a quarter of a second.
SCHEDULED = {
    'reconcile': (1, 0.1, 0.0),
    'backup_schedules': (1, 0.05, 0.0),
    'report_pools': (5, 0.3, 0.25),
    'comparison': (15, 0.6, 0.5),
}

#: Bytes of the log of a run that finds nothing: Lambda's START, END and REPORT.
LOGGED_IDLE = 450

#: Reads of the in_flight and due indexes are eventually consistent: half a unit each.
HALF_UNITS = ('reconcile', 'backup_schedules')

#: Minutes without access after which DynamoDB requests a table's key from KMS again, for each function.
#: https://docs.aws.amazon.com/kms/latest/developerguide/services-dynamodb.html
FIVE_MINUTES = 5

#: Units of DynamoDB that an Idempotency-Key adds to a request: the record, its part of the transaction, the response.
KEY_WRITES = 1 + 2 + 2

#: The service's own metrics, in the embedded format (chalicelib/telemetry.py); AWS's own metrics are free.
METRICS = (
    'Attention',
    'Operations', 'TaskSeconds', 'TaskErrors', 'CandidatesTried', 'Retries', 'ReconcilerDrift', 'ShardsCopied',
    'DamagedBlocks', 'UnknownObjects', 'ReconciliationStopped',
)  # fmt: skip

#: Three controllers for Cinder, from list prices: the same month.
CINDER = {
    'highly available: three m5.large, RDS Multi-AZ, three-node RabbitMQ, NLB, gp3': 1086,
    'three m5.xlarge, everything on each': 467,
}

PAGE = """# Cost

The AWS calls of each operation and their cost at the list price of us-east-1 in November 2026, without the free tier. A
test ([`test_budgets.py`](../../tests/workflows/test_budgets.py)) counts the calls of processes with warm caches and
compares them with a budget. [Drivers](drivers.md#what-each-operation-calls) lists the calls to backends. Generated:
`make docs`.

| operation | DynamoDB calls | writes | reads | queue | start | tasks | transitions | backend | dollars per million |
|---|---|---|---|---|---|---|---|---|---|
{rows}

Writes and reads are units for items of up to 1 KiB. An index that an item enters or leaves costs one more write,
which is not counted. Lambda's time was measured in local clouds on a busy machine with two cores: {api:.0f} ms for a
request (mean of 1,539), {task:.0f} ms for a task (mean of 420, including tasks that copy data). A slower backend
costs more: $0.06 an hour with 1 GB. An external Keystone adds one call to validate a token, cached for 5 min. The
dollars include API Gateway, logs, and the poller's receive and delete. Operations without a queue (attach, detach,
transfers, changes of types) are counted without their entry in the log of operations: one call and three writes,
${quick:.2f} for a million.

## Per GiB of data

| | dollars |
|---|---|
| backup, moved over iSCSI | {backup:.4f} |
| restore, moved over iSCSI | {restore:.4f} |
| storage in S3 Standard, a month, compressed 2:1 | {kept:.4f} |
| additional for a backup of EBS, read by GetSnapshotBlock | {block_read:.4f} |
| additional for a restore to EBS, written by PutSnapshotBlock | {block_write:.4f} |
| state transitions of its ranges | {turns:.7f} |
| traffic between the worker and a backend in another zone | {zone:.4f} |
| objects of a backup through a NAT gateway, where S3 has no gateway endpoint | {nat:.4f} |
| blocks of EBS through an interface endpoint | {endpoint:.4f} |

A range costs two transitions for each call of a worker, every 14 minutes. `BackupConcurrency` changes how many ranges
are copied at the same time, not the cost. A gateway endpoint for S3 is free.

## Keys and secrets

| | dollars |
|---|---|
| each attachment created or shown, and each key of an encrypted volume: a request to KMS | {key:.6f} |
| each warm environment of `api` in an hour of use: its secret in the parameter store, every {ttl} s | {secure:.6f} |
| the same in Secrets Manager (`SecretStore`), and KMS behind it | {secret:.6f} |
| each backup or restore: its data key once, and S3's keys for its objects (about one a worker) | {keys:.6f} |
| each POST with an Idempotency-Key: its record, a part of the transaction, the stored response | {idempotency:.6f} |
| the same, where the response has a secret: one more request to KMS (a transfer: two) | {sealed:.6f} |

## An idle month

30 days, one backend, the built-in identity, up to 100 records, without the free tier.

| | dollars |
|---|---|
{idle}
| **total** | **{total:.2f}** |

Assumed: {assumed}. The calls of each run are counted by
[`test_idle.py`](../../tests/workflows/test_idle.py). A comparison reads every record: 1,000 records of 1 KiB add
${compared:.2f} a month for each backend.

| choice | dollars a month |
|---|---|
| one KMS key for several stacks (`KmsKeyArn`) | -1.00 for each further stack |
| `SecretStore: SecretsManager`, instead of the parameter store | +0.40 |
| `DetailedAlarms: 'true'`: {detailed} more alarms | +{detailed_cost:.2f} |
| `Dashboard: 'true'` (an account's first three are free) | +3.00 |
| `Tracing: Active`: X-Ray, per million traces | +5.00 |
| `SnapStart: 'true'`: the cached snapshot of `api` with 1 GB | +{snapstart:.2f} |
| and each environment that is restored from it | +{restored:.5f} |
| each custom metric with data (the service has {metrics}; an idle stack reports none) | +0.30 |
| an identity document above 4 KB: advanced parameter | +0.05 |
| a NAT gateway | +33 |
| an interface endpoint, per zone | +7.30 |
| a web ACL of WAF, and each of its rules | +5, +1 |

The same month of Cinder's own services:

| | dollars |
|---|---|
| {ha_what} | {ha} |
| {small_what} | {small} |
"""


def dollars(count: Mapping[str, int]) -> float:
    """Return the cost of one run of an operation in dollars."""
    starts = count.get('states', 0)
    invokes = {'api': 1, 'task': count.get('tasks', 0) + count.get('lambda', 0), 'start': starts}
    total = PRICES['request'] + PRICES['write'] * count.get('writes', 0) + PRICES['read'] * count.get('reads', 0)
    total += PRICES['message'] * 3 * count.get('sqs', 0) + PRICES['transition'] * count.get('transitions', 0)
    for kind, number in invokes.items():
        each = PRICES['invoke'] + PRICES['gb_second'] * SECONDS[kind] * MEMORY[kind]
        total += number * (each + PRICES['log_gb'] * LOGGED / 1e9)
    return total


def per_gib(price: str, number: int) -> float:
    """Return the cost of moving one GiB in dollars: objects and Lambda's time."""
    return PRICES[price] * number + PRICES['gb_second'] * SECONDS_PER_GIB * WORKER_GB


def _row(name: str, count: Mapping[str, int]) -> str:
    kinds = ('dynamodb', 'writes', 'reads', 'sqs', 'states', 'tasks', 'transitions', 'backend')
    cells = ' | '.join(str(count.get(kind, 0)) for kind in kinds)
    return f'| {name} | {cells} | {dollars(count) * 1e6:.0f} |'


def scheduled(name: str, counts: Mapping[str, int]) -> float:
    """Return the month's cost of a scheduled function that finds nothing: Lambda, DynamoDB, logs."""
    minutes, own, worker = SCHEDULED[name]
    invokes = (0 if name == 'comparison' else 1) + counts['invokes']  # report_pools invokes the comparison
    seconds = own * MEMORY['start'] + worker * MEMORY['task']
    units = counts['reads'] * (0.5 if name in HALF_UNITS else 1)
    each = PRICES['invoke'] * invokes + PRICES['gb_second'] * seconds + PRICES['log_gb'] * LOGGED_IDLE * invokes / 1e9
    each += PRICES['read'] * units + PRICES['write'] * counts.get('writes', 0)
    return each * MINUTES / minutes


def _opened(counts: Mapping[str, Mapping[str, int]]) -> float:
    """Return the month's cost of KMS behind DynamoDB."""
    slow = {name: MINUTES / SCHEDULED[name][0] for name in counts if SCHEDULED[name][0] >= FIVE_MINUTES}
    return sum(PRICES['key_request'] * counts[name]['tables'] * runs for name, runs in slow.items())


def idle() -> dict[str, float]:
    """Return {what: dollars} of an idle month."""
    counts: dict[str, dict[str, int]] = json.loads(IDLE_CALLS.read_text())
    return {
        'KMS key': PRICES['key_month'],
        f'CloudWatch alarms, {ALARMS}': PRICES['alarm_month'] * ALARMS,
        "SQS, the mapping's polling (5 pollers, 20 s each)": PRICES['message'] * 5 * 3 * MINUTES,
        '`reconcile`, each minute': scheduled('reconcile', counts['reconcile']),
        '`backup_schedules`, each minute': scheduled('backup_schedules', counts['backup_schedules']),
        '`report_pools` and the report of the worker, every 5 minutes': scheduled(
            'report_pools', counts['report_pools']
        ),
        'comparison of the backend with the records, every 15 minutes': scheduled('comparison', counts['comparison']),
        "KMS behind DynamoDB, for those functions' tables": _opened(counts),
        'DynamoDB storage and recovery, 100 MB': PRICES['table_gb_month'] * 0.1,
        'secrets in the SSM parameter store, standard tier': 0.0,
    }


def _assumed() -> str:
    """Return the assumptions about time, as text."""
    return ', '.join(f'`{name}` {own:g} s' for name, (_, own, _) in SCHEDULED.items() if name != 'comparison')


def page() -> str:
    """docs/reference/cost.md."""
    counts = json.loads(CALLS.read_text())
    (ha_what, ha), (small_what, small) = CINDER.items()
    return PAGE.format(
        quick=3 * PRICES['write'] * 1e6,
        rows='\n'.join(_row(name, counts[name]) for name in counts),
        api=SECONDS['api'] * 1000,
        task=SECONDS['task'] * 1000,
        backup=per_gib('put', PUTS_PER_GIB),
        restore=per_gib('get', GETS_PER_GIB),
        kept=0.023 / 2,
        block_read=PRICES['block_read'] * BLOCKS_PER_GIB,
        block_write=PRICES['block_write'] * BLOCKS_PER_GIB,
        turns=PRICES['transition'] * TRANSITIONS_PER_TURN / GIB_PER_TURN,
        zone=PRICES['zone_gb'] * GB_PER_GIB,
        nat=PRICES['nat_gb'] * GB_PER_GIB / 2,
        endpoint=PRICES['endpoint_gb'] * GB_PER_GIB,
        key=PRICES['key_request'],
        keys=PRICES['key_request'] * 2,
        secret=(PRICES['secret_request'] + PRICES['key_request']) * 3600 / DOCUMENT_TTL,
        ttl=DOCUMENT_TTL,
        secure=PRICES['key_request'] * 3600 / DOCUMENT_TTL,
        idempotency=PRICES['write'] * KEY_WRITES,
        sealed=PRICES['write'] * KEY_WRITES + PRICES['key_request'],
        idle='\n'.join(f'| {what} | {price:.2f} |' for what, price in idle().items()),
        total=sum(idle().values()),
        assumed=_assumed(),
        compared=PRICES['read'] * 250 * MINUTES / 15,
        detailed=DETAILED_ALARMS,
        detailed_cost=PRICES['alarm_month'] * DETAILED_ALARMS,
        restored=PRICES['snapstart_restored_gb'] * MEMORY['api'],
        snapstart=PRICES['snapstart_gb_second'] * MEMORY['api'] * MINUTES * 60,
        ha=ha,
        ha_what=ha_what,
        small=small,
        small_what=small_what,
        metrics=len(METRICS),
    )
