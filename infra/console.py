"""The console's libraries: ``python -m infra.console`` fetches them from npm into ``chalicelib/console/vendor``.

They are never committed. Each package has a pinned version and the hash of its archive; a fetched archive with another
hash is refused. Imports by bare names ("preact") are rewritten to files, since ``script-src 'self'`` allows no import
map (docs/decisions/0068-console-files.md). The licence of each package is kept beside its files.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from infra.render import BUILD, ROOT

VENDOR = ROOT / 'chalicelib' / 'console' / 'vendor'

#: The file that names what is fetched: a folder with another content is fetched again.
MARK = 'packages.txt'


class Package(NamedTuple):
    """An npm package. ``files``: file of the archive -> name in ``vendor``."""

    name: str
    version: str
    sha256: str
    files: Mapping[str, str]

    @property
    def archive(self) -> str:
        """The name that ``npm pack`` gives the archive."""
        return f'{self.name.removeprefix("@").replace("/", "-")}-{self.version}.tgz'


PACKAGES = (
    Package(
        'preact',
        '11.2.0',
        '3c4456766bd32b6b534d52bf4e9c2a29b33e7eedf6e96ed479300ba1a7888ebf',
        {'dist/preact.mjs': 'preact.js', 'hooks/dist/hooks.mjs': 'preact-hooks.js'},
    ),
    Package(
        'htm',
        '3.1.1',
        '2425b9bee11409177bcabc7f32e319926fc6690c1701c0b257c88bdff2d5ba90',
        {'dist/htm.module.js': 'htm.js', 'preact/index.module.js': 'htm-preact.js'},
    ),
    Package(
        '@preact/signals',
        '2.11.4',
        '66ea8221dd8aaa0da2365d49c3f116b071d56cfb63b2e16c072c6b4e08a928b7',
        {'dist/signals.module.js': 'signals.js'},
    ),
    Package(
        '@preact/signals-core',
        '1.14.5',
        '94c421ac996214c94f532fb4c43d8ede048a16df0cd9538ffb965174dbe8daba',
        {'dist/signals-core.module.js': 'signals-core.js'},
    ),
)

#: The accessibility checker of the tests; it is not shipped.
AXE = Package(
    'axe-core',
    '4.14.1',
    'e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745',
    {'axe.min.js': 'axe.min.js'},
)

#: Module name in an import -> file beside the importing one.
MODULES = {
    'preact/hooks': 'preact-hooks.js',
    'preact': 'preact.js',
    'htm': 'htm.js',
    '@preact/signals-core': 'signals-core.js',
}

_IMPORT = re.compile(r'\b(from|import) ?"([^"./][^"]*)"')


class Missing(Exception):
    """The libraries are not there, and could not be fetched."""


def main() -> int:
    try:
        fetch()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f'{VENDOR.relative_to(ROOT)}: {", ".join(f"{one.name} {one.version}" for one in PACKAGES)}')
    return 0


def is_complete(folder: Path = VENDOR) -> bool:
    """Whether the folder has these packages."""
    mark = folder / MARK
    return mark.exists() and mark.read_text(encoding='utf-8') == _mark()


def _mark() -> str:
    return ''.join(f'{one.name} {one.version} sha256 {one.sha256}\n' for one in PACKAGES)


def fetch(folder: Path = VENDOR) -> Path:
    """Return the libraries, fetched if needed. Raises Missing; ValueError for an archive with another hash."""
    if is_complete(folder):
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        unfinished = Path(temporary) / 'vendor'
        unfinished.mkdir()
        for package in PACKAGES:
            unpack(package, _packed(package, Path(temporary)), unfinished)
        (unfinished / MARK).write_text(_mark(), encoding='utf-8')
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    return folder


def fetch_axe() -> Path:
    """Return the script of axe-core, fetched if needed. Raises as ``fetch`` does."""
    script = BUILD / f'axe-{AXE.version}' / 'axe.min.js'
    if not script.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as temporary:
            with tarfile.open(fileobj=io.BytesIO(_packed(AXE, Path(temporary)))) as archive:
                unfinished = Path(temporary, script.name)
                unfinished.write_text(_text(archive, f'package/{script.name}'), encoding='utf-8')
            script.parent.mkdir(exist_ok=True)
            unfinished.replace(script)
    return script


def _packed(package: Package, folder: Path) -> bytes:
    command = ['npm', 'pack', f'{package.name}@{package.version}', '--silent', '--pack-destination', str(folder)]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(
            f'The console needs {package.name} {package.version} from npm, and "{" ".join(command[:3])}" failed '
            f'({error}). Nothing is packaged without it: connect to a registry of npm, or copy {VENDOR} from a '
            'checkout where make setup has run.'
        ) from error
    data = (folder / package.archive).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != package.sha256:
        raise ValueError(f'{package.archive} has the SHA-256 {found}, expected {package.sha256}')
    return data


def unpack(package: Package, data: bytes, folder: Path) -> None:
    """Write a package's files and its licence. Raises KeyError for a file that the archive lacks."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name, target in package.files.items():
            (folder / target).write_text(rewritten(_text(archive, f'package/{name}')), encoding='utf-8')
        licence = f'LICENSE-{package.name.removeprefix("@").replace("/", "-")}.txt'
        (folder / licence).write_text(_text(archive, 'package/LICENSE'), encoding='utf-8')


def _text(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read().decode()


def rewritten(source: str) -> str:
    """Return a module with imports of files, and without a source map. Raises KeyError for an unknown module."""
    found = _IMPORT.sub(lambda match: f'{match[1]}"./{MODULES[match[2]]}"', source)
    return '\n'.join(_without_source_maps(found.splitlines())) + '\n'


def _without_source_maps(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if not line.startswith('//# sourceMappingURL'))


if __name__ == '__main__':
    sys.exit(main())
