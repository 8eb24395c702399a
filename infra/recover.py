"""``make recover STAGE=... TABLE=... TIME=...``: restore one table of a stage to a point in time.

DynamoDB restores to a new table, ``<stack>-<table>-restored-<time>``, which the service does not use: compare it, and
copy records from it. With ``REPLACE=<stack>-<table>`` the service's own table is replaced by it. DynamoDB keeps a
backup of the replaced table for 35 days. Each step checks what an interrupted run has done, so it may be repeated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from infra.deploy import Aws, caller, program
from infra.preflight import Runs
from infra.render import templates
from infra.stage import Refused, Stage, load

#: Seconds between two looks at a table, and the longest wait: a large table takes hours.
PAUSE, LONGEST = 15.0, 6 * 3600


def restore(stage: Stage, table: str, moment: datetime.datetime, aws: Runs, pause: float = PAUSE) -> str:
    """Restore a table beside itself and return the new table's name. Raises Refused."""
    source = f'{stage.stack}-{table}'
    target = f'{source}-restored-{moment:%Y%m%d%H%M%S}'
    if describe(target, aws) is None:
        found = describe(source, aws)
        if found is None:
            raise Refused(f'there is no table {source}: give one of {", ".join(sorted(tables()))}')
        _check_window(source, moment, aws)
        words = ['--source-table-name', source, '--target-table-name', target, *_encryption(found)]
        aws.run('dynamodb', 'restore-table-to-point-in-time', *words, '--restore-date-time', moment.isoformat())
    _wait(lambda: (describe(target, aws) or {}).get('TableStatus') == 'ACTIVE', target, pause)
    return target


def _encryption(found: dict[str, Any]) -> list[str]:
    """Return the option that keeps the table's key."""
    key = found.get('SSEDescription', {}).get('KMSMasterKeyArn')
    return ['--sse-specification-override', f'Enabled=true,SSEType=KMS,KMSMasterKeyId={key}'] if key else []


def _check_window(source: str, moment: datetime.datetime, aws: Runs) -> None:
    query = 'ContinuousBackupsDescription.PointInTimeRecoveryDescription'
    words = ('--table-name', source, '--query', query, '--output', 'json')
    found = json.loads(aws.run('dynamodb', 'describe-continuous-backups', *words) or '{}')
    if found.get('PointInTimeRecoveryStatus') != 'ENABLED':
        raise Refused(f'the table {source} has no point-in-time recovery: restore a backup of it instead')
    first, last = (found.get(f'{name}RestorableDateTime') for name in ('Earliest', 'Latest'))
    if first and last and not _time(first) <= moment <= _time(last):
        window = f'{_time(first).isoformat()} to {_time(last).isoformat()}'
        raise Refused(f'TIME is {moment.isoformat()}: {source} can be restored to {window}')


def replace(stage: Stage, table: str, restored: str, aws: Runs, pause: float = PAUSE) -> None:
    """Replace the service's table by a restored one. Raises Refused."""
    name = f'{stage.stack}-{table}'
    backup = _backup(restored, aws, pause)
    found = describe(name, aws)
    if found is None or found.get('RestoreSummary', {}).get('SourceBackupArn') != backup:
        if found is not None:
            aws.run('dynamodb', 'update-table', '--table-name', name, '--no-deletion-protection-enabled')
            _wait(lambda: (describe(name, aws) or {}).get('TableStatus') == 'ACTIVE', name, pause)
            aws.run('dynamodb', 'delete-table', '--table-name', name)
        _wait(lambda: describe(name, aws) is None, name, pause)
        aws.run('dynamodb', 'restore-table-from-backup', '--target-table-name', name, '--backup-arn', backup)
    _wait(lambda: (describe(name, aws) or {}).get('TableStatus') == 'ACTIVE', name, pause)
    _settle(name, tables()[table], aws)


def _backup(restored: str, aws: Runs, pause: float) -> str:
    """Return the ARN of the restored table's backup, created if missing."""

    def find() -> list[Any]:
        query = 'BackupSummaries[?BackupStatus!=`DELETED`].[BackupArn,BackupStatus]'
        words = ('--table-name', restored, '--query', query, '--output', 'json')
        found: list[Any] = json.loads(aws.run('dynamodb', 'list-backups', *words) or '[]')
        return found[0] if found else []

    if not find():
        aws.run('dynamodb', 'create-backup', '--table-name', restored, '--backup-name', restored)
    _wait(lambda: find()[1:] == ['AVAILABLE'], f'the backup of {restored}', pause)
    return str(find()[0])


def _settle(name: str, declared: dict[str, Any], aws: Runs) -> None:
    """Set what a restore does not: recovery, time to live, deletion protection."""
    words = ('--table-name', name)
    recovery = ('--point-in-time-recovery-specification', 'PointInTimeRecoveryEnabled=true')
    aws.run('dynamodb', 'update-continuous-backups', *words, *recovery)
    if 'TimeToLiveSpecification' in declared and not _expires(name, aws):
        attribute = declared['TimeToLiveSpecification']['AttributeName']
        setting = f'Enabled=true,AttributeName={attribute}'
        aws.run('dynamodb', 'update-time-to-live', *words, '--time-to-live-specification', setting)
    aws.run('dynamodb', 'update-table', *words, '--deletion-protection-enabled')


def _expires(name: str, aws: Runs) -> bool:
    query = ('--query', 'TimeToLiveDescription.TimeToLiveStatus', '--output', 'text')
    return aws.run('dynamodb', 'describe-time-to-live', '--table-name', name, *query) in ('ENABLED', 'ENABLING')


def describe(name: str, aws: Runs) -> dict[str, Any] | None:
    """Return a table's description, None if it does not exist."""
    try:
        found: dict[str, Any] = json.loads(
            aws.run('dynamodb', 'describe-table', '--table-name', name, '--query', 'Table', '--output', 'json')
        )
    except Refused as refused:
        if 'ResourceNotFoundException' in str(refused):
            return None
        raise
    return found


def tables() -> dict[str, Any]:
    """{name of a table without the stack's: its properties in the template}."""
    resources = json.loads((templates() / 'plain.json').read_text(encoding='utf-8'))['Resources'].values()
    found = [body['Properties'] for body in resources if body['Type'] == 'AWS::DynamoDB::Table']
    return {each['TableName']['Fn::Sub'].removeprefix('${AWS::StackName}-'): each for each in found}


def _wait(is_done: Callable[[], bool], what: str, pause: float) -> None:
    until = time.monotonic() + LONGEST
    while not is_done():
        if time.monotonic() > until:
            raise Refused(f'{what} is not ready after {LONGEST // 3600} hours: repeat the command, it continues')
        time.sleep(pause)


def _time(text: str | float) -> datetime.datetime:
    """Return a time with its zone; UTC without one. AWS CLI 1 prints seconds, 2 ISO 8601. Raises Refused."""
    if not isinstance(text, str):
        return datetime.datetime.fromtimestamp(text, datetime.UTC)
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f'TIME is {text!r}: give one such as 2026-11-30T10:00:00+00:00') from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m infra.recover', description='Restore one table to a time.')
    parser.add_argument('stage', help='deploy/<stage>.yaml')
    parser.add_argument('table', help="a table's name without the stack's: volumes, snapshots, ...")
    parser.add_argument('time', help='2026-11-30T10:00:00+00:00')
    parser.add_argument('--profile')
    parser.add_argument('--replace', default='', help="the table's whole name: replace the service's table")
    options = parser.parse_args(words)
    try:
        stage, moment = load(options.stage, checked=False), _time(options.time)
        name = f'{stage.stack}-{options.table}'
        if options.table not in tables():
            raise Refused(f'TABLE is {options.table!r}: give one of {", ".join(sorted(tables()))}')
        if options.replace and options.replace != name:
            raise Refused(f'REPLACE is {options.replace!r}: to replace the table that the service uses, give {name}')
        aws = Aws(program(), stage.region, options.profile or None)
        caller(stage, aws)
        restored = restore(stage, options.table, moment, aws)
        if options.replace:
            replace(stage, options.table, restored, aws)
    except Refused as refused:
        print(f'not restored: {refused}', file=sys.stderr)
        return 1
    print(f'{name} is replaced by its state of {moment.isoformat()}' if options.replace else f'restored to {restored}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
