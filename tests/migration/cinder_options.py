"""Runs in .venv-cinder: prints {section: {option: default}} of the registry of oslo.config that Cinder fills.

Modules of vendors that Cinder's drivers import, and that are not installed, are replaced: options need none of them.
"""

from __future__ import annotations

import json
import sys
from unittest import mock

import eventlet

eventlet.monkey_patch()

from cinder import objects  # noqa: E402

objects.register_all()


def cinders_options():
    while True:
        try:
            from cinder import opts

            return opts.list_opts()
        except ModuleNotFoundError as missing:
            sys.modules[missing.name] = mock.MagicMock(__path__=[])


def main() -> None:
    from keystonemiddleware import opts as authentication
    from oslo_middleware import opts as cors

    found: dict[str, dict[str, object]] = {}
    for group, made in [*cinders_options(), *authentication.list_auth_token_opts(), *cors.list_opts()]:
        found.setdefault(str(group or 'DEFAULT'), {}).update({option.dest: option.default for option in made})
    json.dump(found, sys.stdout, default=str)


if __name__ == '__main__':
    main()
