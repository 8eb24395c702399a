"""``cinderless backup``: backups without the service, straight from a bucket or a folder."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import KeyWrapper, read_recovery_key, write_private, write_recovery_key
from chalicelib.backup.layout import GIB, backup_key
from chalicelib.backup.manifests import Manifest
from chalicelib.backup.repository import Repository
from chalicelib.backup.volume_keys import copy_volume_key, load_volume_key
from chalicelib.errors import IntegrityError, InvalidBackup, ObjectMissing, UnsupportedFormat
from cinderless import images
from cinderless.errors import FAILED
from cinderless.migration.import_command import import_cinder
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group
from cinderless.progress import progress
from infra.progress import Show

Command = TypeVar('Command', bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)

#: Columns of the list: field of a manifest -> heading.
_COLUMNS = {'backup': 'backup', 'lineage': 'lineage', 'size': 'size (GiB)', 'created_at': 'created', 'parent': 'parent'}


@click.group(cls=Group)
def backup() -> None:
    """List, verify, restore and copy backups without the service.

    A REPOSITORY is s3://bucket/prefix or a folder, even a read-only one. KMS unwraps the data keys, or a recovery key
    does. AWS is reached as by the AWS command line (profile, region, AWS_ENDPOINT_URL).
    """


backup.add_command(import_cinder)


def _opened(command: Command) -> Command:
    """Add the arguments and options of a command that opens one backup."""
    options = (
        click.argument('repository'),
        click.argument('backup'),
        click.option('--recovery-key', type=_FILE, metavar='FILE', help='Instead of KMS.'),
        click.option('--root-hash', metavar='HEX', help='The root hash that the exported record of the backup states.'),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


@backup.command('list')
@click.argument('repository')
@json_option
def list_(repository: str, as_json: bool) -> int:
    """List backups by volume lineage."""
    source, status, found = _repository(repository), 0, []
    for key in engine.list_backups(source):
        try:
            found.append({field: engine.peek_backup(source, key).get(field) for field in _COLUMNS})
        except (IntegrityError, ObjectMissing, UnsupportedFormat) as error:
            click.echo(str(error), err=True)
            status = FAILED
    if as_json:
        print_json(found)
    else:
        print_table(list(_COLUMNS.values()), map(_row, found))
    return status


def _row(body: Mapping[str, Any]) -> list[object]:
    return list({**body, 'size': f'{body["size"] / GIB:g}', 'parent': body['parent'] or '-'}.values())


@backup.command()
@_opened
@click.option('--sample', type=click.IntRange(1, 100), default=100, metavar='PERCENT', help='Check a random part.')
@json_option
def verify(
    repository: str, backup: str, recovery_key: Path | None, root_hash: str | None, sample: int, as_json: bool
) -> int:
    """Read and verify every block of a backup."""
    source, manifest = _open(repository, backup, recovery_key, root_hash)
    with progress('verify', manifest.size) as show:
        result = engine.verify_backup(source, manifest, sample=sample, progress=show)
    if as_json:
        print_json({'checked': result.checked, 'damaged': result.damaged, 'damage': list(result.damage)})
    else:
        for message in result.damage:
            click.echo(message)
        click.echo(f'{result.checked} blocks checked, {result.damaged} damaged')
    return FAILED if result.damaged else 0


@backup.command()
@_opened
@click.argument('target', type=_FILE)
def restore(repository: str, backup: str, recovery_key: Path | None, root_hash: str | None, target: Path) -> None:
    """Restore a backup to a new file, or over a block special file."""
    source, manifest = _open(repository, backup, recovery_key, root_hash)
    with images.opened(target, manifest.size) as image:
        _restore(source, manifest, image.device, zeroed=image.zeroed)
    click.echo(f'{manifest.backup_id} restored to {target}')


@backup.command()
@_opened
@click.argument('target')
@click.option('--kms-key', default='', metavar='KEY', help='Wraps the data key of the copy.')
@click.option('--target-recovery-key', type=_FILE, metavar='FILE', help='Instead of a KMS key.')
@click.option('--region', help='Of the target bucket and of its KMS key.')
def copy(
    repository: str,
    backup: str,
    recovery_key: Path | None,
    root_hash: str | None,
    target: str,
    kms_key: str,
    target_recovery_key: Path | None,
    region: str | None,
) -> None:
    """Copy a backup to another repository; packs that the target has already are not copied again."""
    if bool(kms_key) == bool(target_recovery_key):
        raise click.UsageError('give --kms-key or --target-recovery-key, not both')
    source, manifest = _open(repository, backup, recovery_key, root_hash)
    there = _wrapper(target_recovery_key, kms_key, region)
    with progress('copy', manifest.size) as show:
        opener = _wrapper(recovery_key)
        store = _repository(target, region)
        copied = engine.copy_backup(source, store, manifest, opener, there, progress=show).manifest
        assert copied is not None  # without a time limit one call copies all
        copy_volume_key(source, store, manifest, copied)
    click.echo(f'{manifest.backup_id} copied to {target}; check the copy with "verify"')


@backup.command('volume-key')
@_opened
@click.argument('file', type=_FILE)
def volume_key(repository: str, backup: str, recovery_key: Path | None, root_hash: str | None, file: Path) -> None:
    """Write the key of an encrypted volume to a new file, as Nova uses it: the hexadecimal digits open LUKS."""
    key = load_volume_key(*_open(repository, backup, recovery_key, root_hash))
    write_private(file, key.payload.hex())
    click.echo(f'the key {key.id} is in {file}: cryptsetup open --key-file {file} DEVICE NAME')


@backup.command()
@click.argument('file', type=_FILE)
def keygen(file: Path) -> None:
    """Make a recovery key in a new file; print its public half, which wraps data keys."""
    click.echo(write_recovery_key(file).hex())


def _restore(source: Repository, manifest: Manifest, device: FileDevice, *, zeroed: bool) -> None:
    with progress('restore', manifest.size) as show:
        for shard in engine.plan(manifest.size, manifest.geometry):
            shown = functools.partial(_show_from, show, shard.offset)
            engine.restore_shard(device, source, manifest, shard.index, target_is_zeroed=zeroed, progress=shown)


def _show_from(show: Show, offset: int, done: int) -> None:
    show(offset + done)


def _open(
    repository: str, backup: str, recovery_key: Path | None, root_hash: str | None
) -> tuple[Repository, Manifest]:
    source = _repository(repository)
    key = backup_key(_lineage_of(source, backup), backup)
    return source, engine.load_backup(source, _wrapper(recovery_key), key, root_hash=root_hash)


def _lineage_of(source: Repository, backup: str) -> str:
    """Return the backup's lineage from object keys alone, so another backup's damaged manifest does no harm."""
    for info in source.list('backups/'):
        if info.key.endswith(f'/{backup}'):
            return info.key.split('/')[1]
    raise InvalidBackup(reason=f'backup {backup} is not in this repository; "list" shows those that are')


def _repository(place: str, region: str | None = None) -> Repository:
    if place.startswith('s3://'):
        from chalicelib.backup import s3  # imports boto3, which a folder does not need

        return s3.repository_at(place, region)
    if not Path(place).is_dir():
        raise InvalidBackup(reason=f'{place} is neither a folder nor s3://bucket/prefix')
    return FileRepository(place)


def _wrapper(recovery_key: Path | None, kms_key: str = '', region: str | None = None) -> KeyWrapper:
    if recovery_key:
        return read_recovery_key(recovery_key)
    from chalicelib.backup import s3

    return s3.key_wrapper(kms_key, region)
