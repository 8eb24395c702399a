"""``cinderless unit``."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from cinderless.errors import REFUSED, Failure
from cinderless.instance import state_dir_option

UNIT = """\
# The local cloud of {state_dir}. Written by: cinderless unit
[Unit]
Description=Cinderless: block storage on this machine
After=network-online.target local-fs.target
Wants=network-online.target

[Service]
Type=notify
# The server alone reports that it is ready.
NotifyAccess=main
WorkingDirectory={root}
Environment={environment}
ExecStart={python} -m cinderless serve
Restart=on-failure
RestartSec=5
# A start that is refused is not repeated: its settings must change first.
RestartPreventExitStatus=2
# The server ends its programs in good order; what is left after that is killed.
KillMode=mixed
TimeoutStartSec=180
TimeoutStopSec=30
UMask=0077
LimitNOFILE=65536
TasksMax=infinity

[Install]
WantedBy=multi-user.target
"""


@click.command()
@state_dir_option
@click.option(
    '--set', 'settings', multiple=True, metavar='NAME=VALUE', help='Another setting of serve; may be repeated.'
)
def unit(state_dir: Path, settings: tuple[str, ...]) -> None:
    """Print a systemd unit that runs the local cloud of a state folder.

    \b
    cinderless unit --state-dir /var/lib/cinderless > /etc/systemd/system/cinderless.service
    systemctl daemon-reload && systemctl enable --now cinderless
    """
    from infra.render import ROOT

    for each in settings:
        if not each.partition('=')[0].isidentifier() or '=' not in each:
            raise Failure(f'--set {shlex.quote(each)}: give a variable and its value, such as PORT=8776', REFUSED)
    words = [f'STATE_DIR={state_dir.absolute()}', *settings]
    python = _quoted(os.path.abspath(sys.executable))  # noqa: PTH100 - .venv's own, not what its link leads to
    text = UNIT.format(
        state_dir=state_dir.absolute(),
        root=_escaped(str(ROOT)),
        environment=' '.join(map(_quoted, words)),
        python=python,
    )
    click.echo(text, nl=False)


def _escaped(text: str) -> str:
    """systemd reads % as the beginning of a specifier."""
    return text.replace('%', '%%')


def _quoted(text: str) -> str:
    """A word of a unit. systemd reads quotes, backslashes, % and, in commands, $."""
    if any(ord(letter) < 32 for letter in text):
        raise Failure(f'{text!r} has a control character, which a unit cannot hold', REFUSED)
    return '"' + _escaped(text).replace('\\', '\\\\').replace('"', '\\"') + '"'
