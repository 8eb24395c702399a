"""``cinderless backup import-cinder``: list, verify and import backups that a Cinder wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chalicelib.backup import keys
from chalicelib.backup.engine import Manifest
from chalicelib.backup.files import FileRepository
from chalicelib.backup.repository import Repository
from chalicelib.errors import IntegrityError, InvalidBackup, ObjectMissing, UnsupportedFormat
from cinderless import images
from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED, REFUSED, Failure
from cinderless.instance import state_dir_option
from cinderless.migration import chunks, imports, target, unpacking
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group
from cinderless.progress import progress

#: Errors of one backup, which keep no other from being processed.
_OF_ONE = (IntegrityError, InvalidBackup, ObjectMissing, UnsupportedFormat)


@click.group('import-cinder', cls=Group)
def import_cinder() -> None:
    """List, verify, restore and import backups that Cinder wrote to a folder, an NFS share or a bucket.

    A SOURCE is a folder (backup_posix_path, a mounted backup_share, or downloaded Swift objects) or s3://bucket/prefix.
    """


@import_cinder.command('list')
@click.argument('source')
@json_option
def list_(source: str, as_json: bool) -> int:
    """List the backups of a source with their parents. Exit code 1: one cannot be read."""
    known, broken = _read(_store(source))
    rows = [
        [one.id, one.volume_id, one.parent_id or '-', len(one.pieces), one.created_at, one.name or '-']
        for one in sorted(known.values(), key=lambda one: (one.volume_id, one.created_at))
    ]
    heads = ['backup', 'volume', 'parent', 'objects', 'created', 'name']
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
    else:
        print_table(heads, rows)
    return FAILED if broken else 0


@import_cinder.command()
@click.argument('source')
@click.argument('backups', nargs=-1)
def verify(source: str, backups: tuple[str, ...]) -> int:
    """Read every byte of BACKUPS, by default of all, and compare it with its sha256. Exit code 1: one is damaged."""
    store = _store(source)
    known, broken = _read(store)
    for id in _wanted(backups, known):
        try:
            with progress(id, known[id].end) as show:
                size = imports.verify(store, chunks.chain_of(known[id], known), show)
            click.echo(f'{id}: {size} bytes are intact')
        except _OF_ONE as error:
            broken = True
            click.echo(f'{id}: {error.message}', err=True)
    return FAILED if broken else 0


@import_cinder.command()
@click.argument('source')
@click.argument('backup')
@click.argument('target', type=click.Path(path_type=Path))
def restore(source: str, backup: str, target: Path) -> int:
    """Restore one backup to a new file, or over a block special file of at least its size. Every block is checked.

    Exit code 1: the backup is damaged; then the file is not created, or the block special file has a part of it.
    """
    store = _store(source)
    known, _ = _read(store)
    [id] = _wanted((backup,), known)
    try:
        chain = chunks.chain_of(known[id], known)
        with progress(id, chain[0].end) as show, images.opened(target, chain[0].end) as image:
            size = imports.restore(store, chain, image, show)
    except _OF_ONE as error:
        click.echo(f'{id}: {error.message}', err=True)
        return FAILED
    click.echo(f'{id} restored to {target}: {size} bytes')
    return 0


@import_cinder.command()
@click.argument('source')
@click.argument('repository', metavar='TARGET')
@click.argument('backups', nargs=-1)
@click.option('--kms-key', default='', metavar='KEY', help='Wraps the data keys of full backups.')
@click.option(
    '--recovery-key', type=click.Path(path_type=Path), metavar='FILE', help='Instead of a KMS key (backup keygen).'
)
@click.option('--region', help='Of the target bucket and of its KMS key.')
@click.option('--complete', is_flag=True, help='Make the records available that cinderless migrate brought.')
@state_dir_option
@click.option('--stage', help='With --complete: the deployment of deploy/STAGE.yaml, instead of the local cloud.')
@profile_option
def run(source: str, repository: str, backups: tuple[str, ...], **given: Any) -> int:
    """Import BACKUPS, by default all, with their ancestors into the repository TARGET. Safe to repeat.

    TARGET is s3://bucket/prefix or a folder. Blocks that the repository has already are not stored again. With
    --complete, the deployment must be allowed to read the bucket and to use the KMS key (parameters
    OtherBackupResources and OtherBackupKeys), unless they are its own. Exit code 1: one could not be imported.
    """
    finish = _finisher(repository, given) if given['complete'] else None
    if bool(given['kms_key']) == bool(given['recovery_key']):
        raise click.UsageError('give --kms-key or --recovery-key, not both')
    store = _store(source)
    known, broken = _read(store)
    there = _repository(repository, given['region'])
    wrapper = _wrapper(given['kms_key'], given['recovery_key'], given['region'])
    done: set[str] = set()
    for id in _wanted(backups, known):
        try:
            for chain in imports.in_order(id, known, done):
                with progress(chain[-1].id, chain[0].end) as show:
                    manifest = imports.import_backup(store, chain, there, wrapper, show)
                click.echo(f'{chain[-1].id} imported: {manifest.stored_bytes} bytes, root hash {manifest.root_hash}')
                done.add(chain[-1].id)
                if finish and finish(manifest):
                    click.echo(f'{chain[-1].id} is available')
        except _OF_ONE as error:
            broken = True
            click.echo(f'{id}: {error.message}', err=True)
    return FAILED if broken else 0


def _finisher(target_url: str, given: dict[str, Any]) -> Callable[[Manifest], bool]:
    """Connect the deployment; return the function that completes a record."""
    if not target_url.startswith('s3://') or not given['kms_key']:
        raise click.UsageError('--complete needs a TARGET in S3 and --kms-key: the service reads the backup there')
    target.connect(given['state_dir'], given['stage'], given['profile'])
    from chalicelib.config import settings
    from cinderless.migration import completion

    location = completion.place_of(target_url, given['region'] or settings().region)
    return lambda manifest: completion.complete(manifest, location)


def _read(store: unpacking.Store) -> tuple[dict[str, chunks.ChunkedBackup], bool]:
    """Return the backups by id, and whether one cannot be read, which is printed."""
    known, broken = {}, False
    for found in chunks.find_backups(store):
        if isinstance(found, InvalidBackup):
            broken = True
            click.echo(found.message, err=True)
        else:
            known[found.id] = found
    return known, broken


def _wanted(backups: tuple[str, ...], known: dict[str, Any]) -> list[str]:
    missing = [id for id in backups if id not in known]
    if missing:
        raise Failure(f'the source has no backup {", ".join(missing)}; list shows those that it has', REFUSED)
    return list(backups or sorted(known, key=lambda id: str(known[id].created_at)))


def _store(source: str) -> unpacking.Store:
    if source.startswith('s3://'):
        from cinderless.migration import bucket

        return bucket.Bucket(source)
    if not Path(source).is_dir():
        raise Failure(f'{source} is neither a folder nor s3://bucket/prefix', REFUSED)
    return chunks.Folder(Path(source))


def _repository(target: str, region: str | None) -> Repository:
    if target.startswith('s3://'):
        from chalicelib.backup import s3

        return s3.repository_at(target, region)
    return FileRepository(target)


def _wrapper(kms_key: str, recovery_key: Path | None, region: str | None) -> keys.KeyWrapper:
    if recovery_key:
        return keys.read_recovery_key(recovery_key)
    from chalicelib.backup import s3

    return s3.key_wrapper(kms_key, region)
