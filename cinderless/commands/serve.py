"""``cinderless serve``: the local cloud in the foreground. Each variable of its environment is an option, too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import click

from local import settings

#: Read from the environment only: a command line is public.
SECRETS = ('KEYSTONE_PASSWORD',)

#: The value that sets a variable that is a flag.
ON = '1'


def options() -> Iterator[click.Option]:
    """Yield an option for each variable, in the order of the reference."""
    for name in ('STATE_DIR', *settings.PORTS, *settings.TEXTS):
        if name not in (*SECRETS, 'DEBUG'):
            yield _option(name)


def _option(name: str) -> click.Option:
    flag = '--' + name.lower().replace('_', '-')
    values = settings.CHOICES.get(name, ())
    text = f'{_plain(settings.MEANINGS[name])} ({name})'
    if ON in values:
        return click.Option([flag], is_flag=True, default=None, help=text.removeprefix(f'{ON} '))
    return click.Option([flag], metavar='|'.join(filter(None, values)) or 'TEXT', help=text)


def _plain(markdown: str) -> str:
    return re.sub(r'\[([^]]*)]\([^)]*\)', r'\1', markdown).replace('`', '')


@click.command(params=list(options()))
def serve(**given: Any) -> int:
    """Run the whole service on this machine, until Ctrl-C.

    The state folder keeps volumes, backups and users over a stop and over kill -9. An option replaces the environment
    variable that its description names. KEYSTONE_PASSWORD is read from the environment only.
    """
    from local.__main__ import main

    words = {name.upper(): ON if value is True else value for name, value in given.items() if value is not None}
    return main({**os.environ, **words})
