"""The layers: download their wheels once, verify their hashes, and unpack them."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from infra.render import BUILD

#: A file ``<layer>.txt`` beside this one lists the content of each; ``make lock`` writes them.
LAYERS = ('common', 'data')

#: Lambda's platform; the second tag is for wheels that name a newer libc.
PLATFORMS = ('manylinux2014_x86_64', 'manylinux_2_28_x86_64')


def locked(layer: str) -> Path:
    return Path(__file__).parent / f'{layer}.txt'


def platform_options(runtime: str) -> list[str]:
    """Return pip's options for wheels that run in Lambda, independent of this interpreter and machine."""
    platforms = [option for platform in PLATFORMS for option in ('--platform', platform)]
    return ['--only-binary=:all:', '--implementation', 'cp', '--python-version', runtime, *platforms]


def fetch(layer: str, runtime: str) -> list[Path]:
    """Return the wheels of a layer, downloaded unless this list was downloaded before.

    pip refuses a wheel whose hash is not the locked one.
    """
    folder = BUILD / 'wheels' / hashlib.sha256(runtime.encode() + locked(layer).read_bytes()).hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        command = [sys.executable, '-m', 'pip', 'download', '-q', '--disable-pip-version-check', '--no-deps']
        command += ['--require-hashes', '--dest', str(unfinished), '-r', str(locked(layer)), *platform_options(runtime)]
        subprocess.run(command, check=True)  # noqa: S603
        try:
            unfinished.replace(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process has just done the same
                raise
            shutil.rmtree(unfinished)
    return sorted(folder.glob('*.whl'))


def unpack(wheels: list[Path], target: Path) -> None:
    """Unpack wheels in Lambda's layout: packages and licences, without scripts and installation records."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target, [name for name in archive.namelist() if _is_wanted(name)])


def _is_wanted(name: str) -> bool:
    top, _, rest = name.partition('/')
    if top.endswith('.data'):
        if not rest.startswith('scripts/'):
            raise ValueError(f'{name}: a wheel that installs more than packages and scripts; unpack it by pip')
        return False
    return not (top.endswith('.dist-info') and rest in {'RECORD', 'WHEEL', 'entry_points.txt', 'top_level.txt'})
