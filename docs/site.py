"""``python -m docs.site``: build the site of the documents in .build/site, without requests to other hosts.

Runs in the environment .venv-docs with the standard library. The first run fetches Mermaid from npm, checks its
hash and keeps it in .venv-docs. A link to a file that is not a page becomes text.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / '.build'
PAGES, SITE, CONFIGURATION = BUILD / 'pages', BUILD / 'site', BUILD / 'site.yml'

#: Where Mermaid is kept, its version and npm's integrity of the archive.
MERMAID = ROOT / '.venv-docs' / 'mermaid.min.js'
MERMAID_VERSION = '11.17.2'
MERMAID_SHA512 = 'V6K3C8EBdEsPFZXSKMJe6ppQOENxuHARr9GvHX4hh47lAbhMRD9qf4oEK7LoaRQxULMa80/qt5gHO73aCleBBg=='

#: Documents outside of docs/ -> their pages.
ELSEWHERE = {
    'README.md': 'overview.md',
    'appliance/README.md': 'reference/appliance.md',
    'CHANGELOG.md': 'project/changelog.md',
    '.github/CONTRIBUTING.md': 'project/contributing.md',
    '.github/SECURITY.md': 'project/security-policy.md',
}

#: The folder of images that pages show.
IMAGES = 'images'

LINK = re.compile(r'\[([^\]]*)\]\(([^)#\s]*)(#[^)]*)?\)')


def sources() -> dict[str, str]:
    """Return {path of a document in the repository: path of its page}."""
    folder = ROOT / 'docs'
    own = {f'docs/{path.relative_to(folder)}': str(path.relative_to(folder)) for path in folder.rglob('*.md')}
    return {**own, **ELSEWHERE}


def page(source: str, pages: dict[str, str]) -> str:
    """Return a document with its links as its page needs them."""

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ''
        if not target or '://' in target:
            return found[0]
        path = os.path.normpath(Path(source).parent / target)
        if path.startswith(f'docs/{IMAGES}/'):
            return f'[{text}]({os.path.relpath(path.removeprefix("docs/"), Path(pages[source]).parent)})'
        if path not in pages:
            return text if text.startswith('`') else f'{text} (`{path}`)'
        return f'[{text}]({os.path.relpath(pages[path], Path(pages[source]).parent)}{anchor})'

    return LINK.sub(link, (ROOT / source).read_text(encoding='utf-8'))


def copy_pages() -> None:
    """Write all pages and the configuration to .build."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = sources()
    for source, target in pages.items():
        (PAGES / target).parent.mkdir(parents=True, exist_ok=True)
        (PAGES / target).write_text(page(source, pages), encoding='utf-8')
    shutil.copytree(ROOT / 'docs' / IMAGES, PAGES / IMAGES)
    script = PAGES / 'javascripts' / MERMAID.name
    script.parent.mkdir()
    shutil.copy(MERMAID, script)
    style = PAGES / 'stylesheets' / 'site.css'
    style.parent.mkdir()
    shutil.copy(ROOT / 'docs' / style.name, style)
    shutil.copy(ROOT / 'docs' / 'site.yml', CONFIGURATION)


def fetch_mermaid() -> None:
    """Fetch Mermaid from npm unless it is there. Raises ValueError for an archive with another hash."""
    if MERMAID.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        command = ['npm', 'pack', f'mermaid@{MERMAID_VERSION}', '--silent', '--pack-destination', folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        [archive] = Path(folder).glob('*.tgz')
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != MERMAID_SHA512:
            raise ValueError(f'mermaid {MERMAID_VERSION} has the SHA-512 {digest}, not {MERMAID_SHA512}')
        with tarfile.open(archive) as files:
            script = files.extractfile(f'package/dist/{MERMAID.name}')
            assert script is not None
            MERMAID.write_bytes(script.read())


def main() -> int:
    fetch_mermaid()
    copy_pages()
    builder = Path(sys.executable).with_name('zensical')
    command = [str(builder), 'build', '--strict', '--config-file', str(CONFIGURATION)]
    code = subprocess.run(command, check=False).returncode  # noqa: S603
    print(f'{SITE.relative_to(ROOT)}/index.html')
    return code


if __name__ == '__main__':
    sys.exit(main())
