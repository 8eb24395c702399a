"""``cinderless migrate``: from the database of a Cinder to this deployment."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED
from cinderless.instance import state_dir_option
from cinderless.migration import hosts as tables
from cinderless.migration import target
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group
from cinderless.progress import progress

if TYPE_CHECKING:
    from cinderless.migration.report import Report
    from cinderless.migration.source import Source

Command = TypeVar('Command', bound=Callable[..., Any])

_COLUMNS = ('record', 'new', 'changed', 'unchanged', 'removed', 'kept')

#: Records a second that a plan expects, as measured with DynamoDB Local.
EXPECTED_RATE = 400


@click.group(cls=Group)
def migrate() -> None:
    """Bring the records of a Cinder over, from its database. Ids, times, projects and users stay.

    The data of volumes is not read or moved, but for copy. See docs/how-to/coming-from-cinder.md.
    """


def _deployment(command: Command) -> Command:
    """Add the options of the deployment that is written to."""
    stage = click.option('--stage', help='The deployment of deploy/STAGE.yaml, instead of the local cloud.')
    return state_dir_option(stage(profile_option(json_option(command))))


def _database(command: Command) -> Command:
    """Add the options of a command that reads Cinder's database."""
    options = (
        click.option(
            '--database',
            metavar='URL',
            required=True,
            envvar='CINDER_DATABASE',
            help='mysql+pymysql://user:password@host/cinder or sqlite:////path (CINDER_DATABASE).',
        ),
        click.option(
            '--hosts',
            type=click.Path(path_type=Path),
            metavar='FILE',
            help='The table of backends: lines "old host@backend#pool -> new host@backend#pool".',
        ),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), _deployment(command))


@migrate.command()
@_database
def plan(**given: Any) -> int:
    """Show what a run would bring, what it would leave out and why, and what needs a decision. Writes nothing.

    Exit code 1: a row would be left out.
    """
    return _migrate(given, apply=False)


@migrate.command()
@_database
@click.option('--apply', is_flag=True, help='Write. Without it, this is a plan.')
@click.option('--rate', type=click.FloatRange(min=0, min_open=True), metavar='N', help='At most N records a second.')
@click.option(
    '--most-removals', type=click.IntRange(min=0), default=100, show_default=True, metavar='N',
    help='Remove none of the records whose rows are gone if they are more.',
)  # fmt: skip
@click.option('--keys', metavar='CLOUD', help="Also bring keys: Cinder's cloud in clouds.yaml, with its Barbican.")
def run(apply: bool, rate: float | None, most_removals: int, keys: str | None, **given: Any) -> int:
    """Bring the records over; with --apply. Repeat it for what has changed since, or after an interruption.

    Records of earlier runs whose rows were deleted, or are left out now, are removed. Records that were changed here
    are kept, and reported. Exit code 1: a row was left out.
    """
    return _migrate(given, keys, apply=apply, rate=rate, most_removals=most_removals)


@migrate.command()
@_database
@click.option('--old-cloud', metavar='NAME', help="Cinder's cloud in clouds.yaml: compare both APIs, too.")
@click.option('--new-cloud', metavar='NAME', help="This deployment's cloud in clouds.yaml, with --old-cloud.")
def verify(old_cloud: str | None, new_cloud: str | None, **given: Any) -> int:
    """Compare each row with its record, attribute by attribute, and each project's usage with its records.

    With both clouds, as an administrator, also each record of one API with that of the other. Exit code 1: something
    differs, or was left out.
    """
    if bool(old_cloud) != bool(new_cloud):
        raise click.UsageError('give --old-cloud and --new-cloud, or neither')
    with _opened(given) as (source, hosts):
        from cinderless.migration import apis, run, stages

        with progress('verify', stages.Stages(source, hosts).total(), unit='rows') as show:
            report = run.verify(source, hosts, show=show)
        if old_cloud and new_cloud:
            report.findings += apis.compare(apis.of_cloud(old_cloud), apis.of_cloud(new_cloud), hosts)
    return _show(report, given['as_json'])


@migrate.command()
@click.argument('volume')
@click.argument('origin')
@_deployment
@click.option('--database', metavar='URL', required=True, envvar='CINDER_DATABASE', help='As of run (CINDER_DATABASE).')
@click.option('--to', 'pool', metavar='POOL', required=True, help='The pool here: host@backend#pool.')
@click.option('--apply', is_flag=True, help='Copy. Without it, everything is checked, and nothing is written.')
def copy(
    volume: str,
    origin: str,
    database: str,
    pool: str,
    apply: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Copy the data of an unmanaged VOLUME from ORIGIN to a pool, compare both, and make its record available.

    ORIGIN is a raw file, a block special file (attach the old volume to this machine), or
    iscsi://user@host:port/IQN/LUN with its CHAP secret in SOURCE_CHAP_SECRET. It is opened for reading only. An origin
    in use is refused, and a volume that Cinder shows as attached, before the copy and after it. This machine must reach
    the backend. Repeat the command after an interruption: it continues.
    """
    from cinderless.migration.source import open_source

    def unused() -> None:
        with open_source(database) as source:
            source.check()
            copying.check_row(source, volume)
        if not origin.startswith('iscsi://'):
            origins.check_unused(Path(origin))

    target.connect(**given)
    from cinderless.migration import copying, origins

    with origins.opened(origin, os.environ.get('SOURCE_CHAP_SECRET')) as device:
        unused()
        found = copying.find(volume)
        if copying.COPIED in found.admin_metadata:
            click.echo(f'{volume} is on {found.host} already')
            return 0
        copying.check(found, device, pool)
        if not apply:
            click.echo(f'{volume}: {found.size} GiB can be copied from {origin} to {pool}; --apply copies them')
            return 0
        with progress('copy, then compare', 2 * device.size) as show:
            result = copying.copy(found, device, pool, unused, show)
    if as_json:
        print_json({'volume': volume, 'pool': pool, 'bytes': result.size, 'sha256': result.digest})
    else:
        click.echo(f'{volume} is on {pool}: {result.size} bytes, SHA-256 {result.digest} on both sides')
    return 0


@migrate.command()
@_deployment
@click.option('--apply', is_flag=True, help='Remove. Without it, nothing is changed.')
def rollback(apply: bool, as_json: bool, state_dir: Path, stage: str | None, profile: str | None) -> int:
    """Remove exactly the records that runs brought; with --apply. What was changed here since is kept, and reported.

    Exit code 1: a record was kept.
    """
    target.connect(state_dir, stage, profile)
    from cinderless.migration import ledger, run

    total = sum(1 for kind in run.ROLLBACK for _ in ledger.every(kind))
    with progress('rollback', total, unit='records') as show:
        report = run.rollback(apply=apply, show=show)
    return _show(report, as_json)


def _migrate(given: dict[str, Any], cloud: str | None = None, **options: Any) -> int:
    with _opened(given) as (source, hosts):
        from cinderless.migration import keys, run, stages

        options['secrets_of'] = keys.of_cloud(cloud) if cloud else None
        with progress(
            'migrate' if options['apply'] else 'plan', stages.Stages(source, hosts).total(), unit='rows'
        ) as show:
            report = run.migrate(source, hosts, show=show, **options)
    return _show(report, given['as_json'])


@contextmanager
def _opened(given: dict[str, Any]) -> Iterator[tuple[Source, tables.HostMap]]:
    """Yield the database and the table of backends, both checked, with the deployment connected."""
    from cinderless.migration.source import open_source

    hosts = tables.parse(given['hosts'].read_text(encoding='utf-8') if given['hosts'] else '')
    with open_source(given['database']) as source:
        source.check()
        target.connect(given['state_dir'], given['stage'], given['profile'])
        tables.check_pools(hosts, target.pools())
        yield source, hosts


def _show(report: Report, as_json: bool) -> int:
    from cinderless.migration.report import Outcome

    if as_json:
        print_json(report.document())
        return 0 if report.is_complete else FAILED
    print_table(_COLUMNS, report.rows())
    for paragraph in report.problems():
        click.echo(f'\n{paragraph}')
    planned = report.total(Outcome.NEW, Outcome.CHANGED, Outcome.REMOVED)
    done = 'written or removed' if report.applied else 'to be written or removed'
    estimate = '' if report.applied else f', about {planned / EXPECTED_RATE:.0f} s at {EXPECTED_RATE} records a second'
    click.echo(f'\n{planned} records {done} in {report.seconds:.1f} s{estimate}')
    return 0 if report.is_complete else FAILED
