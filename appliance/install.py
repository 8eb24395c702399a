"""``python3 -m appliance install``: install package, options, secret and systemd unit."""

from __future__ import annotations

import argparse
import re
import secrets
import shutil
from pathlib import Path

from appliance import certificate
from appliance.daemon import join

UNIT = 'cinderless-appliance.service'
PACKAGE = 'opt/cinderless/appliance'
ENVIRONMENT = 'etc/cinderless-appliance/environment'
UNITS = 'etc/systemd/system'

#: systemd splits the options at spaces, and replaces $ and quotes.
_PLAIN = re.compile(r'[A-Za-z0-9/.,:=_+\[\]-]+')

_NEXT = """\
installed. Now:
  systemctl daemon-reload && systemctl enable --now {unit}
and describe this host in the backends document:
  "driver": "appliance",
  "options": {{"url": "https://{listen}", "fingerprint": "{fingerprint}"}},
  "secrets": {{"secret": {{"secret": "<name of a secret that holds the text of {secret}>"}}}}"""


def install(given: list[str], options: argparse.Namespace) -> str:
    """Write all files below ``options.root``; return the next steps. An existing secret is kept.

    Raises ValueError for an option that systemd would read otherwise than the shell did.
    """
    root = options.root
    words = [word for word in _without_root(given) if word != 'install']
    for word in words:
        if not _PLAIN.fullmatch(word):
            raise ValueError(f'{word!r}: the options of a unit may hold letters, digits, and / . , : = [ ] _ - only')
    _copy_package(root / PACKAGE)
    _write(root / ENVIRONMENT, f'OPTIONS={" ".join(words)}\n', 0o644)
    _write(root / UNITS / UNIT, (Path(__file__).parent / UNIT).read_text(), 0o644)
    secret = root / options.secret_file.relative_to('/')
    if not secret.exists():
        _write(secret, secrets.token_urlsafe(48) + '\n', 0o600)
    state = root / options.state_dir.relative_to('/')
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    fingerprint = certificate.fingerprint(certificate.ensure(state)[0])
    return _NEXT.format(unit=UNIT, listen=join(*options.listen), fingerprint=fingerprint, secret=options.secret_file)


def _copy_package(to: Path) -> None:
    source = Path(__file__).parent
    if source.resolve() != to.resolve():
        shutil.copytree(source, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))


def _without_root(words: list[str]) -> list[str]:
    """Return the service's options: ``--root`` is for the install command only."""
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith('--root'):
            kept.append(word)
        skip = word == '--root'
    return kept


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)
