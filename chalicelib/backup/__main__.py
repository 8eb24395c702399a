"""Backups without the service: ``python -m chalicelib.backup``, straight from a bucket or a folder.

    list    s3://bucket/prefix                          the backups in the repository
    verify  s3://bucket/prefix <backup>                 read and verify every block
    restore s3://bucket/prefix <backup> volume.img      to a new file, or over a block special file
    copy    s3://bucket/prefix <backup> s3://other/prefix   to another bucket, its data key wrapped for that bucket
    keygen  recovery.key                                make a recovery key; print its public half

The repository may also be a folder, even a read-only one. KMS unwraps the data keys, or ``--recovery-key FILE`` does.
AWS is reached as by the AWS command line (profile, region, AWS_ENDPOINT_URL).
Exit status: 0, 1 on failure or damage, 2 on usage, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import functools
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import KeyWrapper, read_recovery_key, write_recovery_key
from chalicelib.backup.layout import GIB, MIB, backup_key
from chalicelib.backup.manifests import Manifest
from chalicelib.backup.repository import Repository
from chalicelib.errors import CinderlessError, IntegrityError, InvalidBackup, ObjectMissing, UnsupportedFormat

_LINE = '{:36}  {:36}  {:>12}  {:25}  {}'


class ProgressBar:
    """One line, redrawn in place, on a terminal; elsewhere one line for every 10 %."""

    WIDTH = 40

    def __init__(self, stream: TextIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._started = time.monotonic()
        self._end = '\r' if stream.isatty() else '\n'
        self._parts = 100 if stream.isatty() else 10
        self._shown = -1

    def show(self, done: int) -> None:
        """``done`` and the total in bytes."""
        part = self._parts * done // self._total
        if part == self._shown:
            return
        self._shown = part
        rate = done / MIB / max(time.monotonic() - self._started, 1e-3)
        filled = self.WIDTH * done // self._total
        bar = '#' * filled + '.' * (self.WIDTH - filled)
        self._stream.write(f'[{bar}] {100 * done // self._total:3d} %  {rate:6.0f} MiB/s{self._end}')
        self._stream.flush()

    def close(self) -> None:
        if self._end == '\r':
            self._stream.write('\n')


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except (CinderlessError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\ninterrupted', file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='python -m chalicelib.backup', description='Backups without the service.')
    commands = parser.add_subparsers(required=True, metavar='list | verify | restore | copy | keygen')
    commands_with_a_backup = ((verify, ('backup',)), (restore, ('backup', 'target')), (copy, ('backup', 'target')))
    for command, takes in ((list_, ()), *commands_with_a_backup):
        sub = commands.add_parser(command.__name__.strip('_'), help=command.__doc__)
        sub.add_argument('repository', help='s3://bucket/prefix, or a folder')
        for name in takes:
            sub.add_argument(name)
        if takes:
            sub.add_argument('--recovery-key', type=Path, metavar='FILE', help='instead of KMS')
            sub.add_argument(
                '--root-hash', metavar='HEX', help='the root hash that the exported record of the backup states'
            )
        if command is verify:
            sub.add_argument('--sample', type=_percent, default=100, metavar='PERCENT', help='check a random part')
        if command is copy:
            opens = sub.add_mutually_exclusive_group(required=True)
            opens.add_argument('--kms-key', default='', metavar='KEY', help='wraps the data key of the copy')
            opens.add_argument('--target-recovery-key', type=Path, metavar='FILE', help='instead of a KMS key')
            sub.add_argument('--region', help='of the target bucket and of its KMS key')
        sub.set_defaults(command=command)
    sub = commands.add_parser('keygen', help=keygen.__doc__)
    sub.add_argument('file', type=Path)
    sub.set_defaults(command=keygen)
    return parser


def _percent(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1 to 100')
    return int(text)


def list_(options: argparse.Namespace) -> int:
    """List backups by volume lineage."""
    repository = _repository(options.repository)
    print(_LINE.format('BACKUP', 'LINEAGE', 'SIZE (GiB)', 'CREATED', 'PARENT'))
    status = 0
    for key in engine.list_backups(repository):
        try:
            print(_row(engine.peek_backup(repository, key)))
        except (IntegrityError, ObjectMissing, UnsupportedFormat) as error:
            print(error, file=sys.stderr)
            status = 1
    return status


def _row(body: Mapping[str, Any]) -> str:
    size = f'{body["size"] / GIB:g}'
    return _LINE.format(body['backup'], body['lineage'], size, str(body.get('created_at')), body['parent'] or '-')


def verify(options: argparse.Namespace) -> int:
    """Read and verify every block of a backup."""
    repository, manifest = _open(options)
    bar = ProgressBar(sys.stderr, manifest.size)
    result = engine.verify_backup(repository, manifest, sample=options.sample, progress=bar.show)
    bar.close()
    for message in result.damage:
        print(message)
    print(f'{result.checked} blocks checked, {result.damaged} damaged')
    return 1 if result.damaged else 0


def restore(options: argparse.Namespace) -> int:
    """Restore a backup to a file or device."""
    repository, manifest = _open(options)
    target = Path(options.target)
    if target.exists() and stat.S_ISBLK(target.stat().st_mode):
        with FileDevice(target) as device:
            _restore(repository, manifest, device, zeroed=False)
    else:
        _restore_file(repository, manifest, target)
    print(f'{manifest.backup_id} restored to {target}')
    return 0


def copy(options: argparse.Namespace) -> int:
    """Copy a backup to another repository; packs that the target has already are not copied again."""
    repository, manifest = _open(options)
    target = _repository(options.target, options.region)
    there = _wrapper(options.target_recovery_key, options.kms_key, options.region)
    bar = ProgressBar(sys.stderr, manifest.size)
    opener = _wrapper(options.recovery_key)
    engine.copy_backup(repository, target, manifest, opener, there, progress=bar.show)
    bar.close()
    print(f'{manifest.backup_id} copied to {options.target}; check the copy with "verify"')
    return 0


def keygen(options: argparse.Namespace) -> int:
    """Make a recovery key in a new file; print its public half, which wraps data keys."""
    print(write_recovery_key(options.file).hex())
    return 0


def _restore_file(repository: Repository, manifest: Manifest, target: Path) -> None:
    """Restore to a partial file and rename it once it is complete. An existing file is never overwritten."""
    if target.exists():
        raise InvalidBackup(reason=f'{target} exists: name a new file, or remove it')
    partial = target.with_name(target.name + '.partial')
    partial.unlink(missing_ok=True)
    try:
        with FileDevice(partial, manifest.size) as device:
            _restore(repository, manifest, device, zeroed=True)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _restore(repository: Repository, manifest: Manifest, device: FileDevice, *, zeroed: bool) -> None:
    bar = ProgressBar(sys.stderr, manifest.size)
    for shard in engine.plan(manifest.size, manifest.geometry):
        show = functools.partial(_show_from, bar, shard.offset)
        engine.restore_shard(device, repository, manifest, shard.index, target_is_zeroed=zeroed, progress=show)
    bar.close()


def _show_from(bar: ProgressBar, offset: int, done: int) -> None:
    bar.show(offset + done)


def _open(options: argparse.Namespace) -> tuple[Repository, Manifest]:
    repository = _repository(options.repository)
    lineage = _lineage_of(repository, options.backup)
    wrapper = _wrapper(options.recovery_key)
    key = backup_key(lineage, options.backup)
    return repository, engine.load_backup(repository, wrapper, key, root_hash=options.root_hash)


def _lineage_of(repository: Repository, backup: str) -> str:
    """Return the backup's lineage from object keys alone, so another backup's damaged manifest does no harm."""
    for info in repository.list('backups/'):
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


if __name__ == '__main__':
    sys.exit(main())
