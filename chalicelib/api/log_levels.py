"""Log levels (os-services get-log, set-log): those of the process that answers, as Cinder's API does for itself.

The functions behind the API have no address and no process that stays: how much they log is a parameter of the
deployment, so they have no row, and a request that names one of them is told so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from chalicelib import errors
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.services import UPDATE, services
from chalicelib.config import settings

SINCE = '3.32'

BINARY = 'cinder-api'

#: What a body may name; '' and '*' are all.
BINARIES = ('cinder-scheduler', 'cinder-volume', 'cinder-backup', BINARY, '', '*')

LEVELS = ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG')

_LOGS = {'binary': {'type': 'string', 'enum': list(BINARIES)}, 'server': p.SHORT_TEXT, 'prefix': p.SHORT_TEXT}

GET_LOG = p.members(_LOGS)
SET_LOG = p.members({**_LOGS, 'level': {'type': ['string', 'null'], 'maxLength': 255}})


@services.put('/get-log', policy=UPDATE, schema=GET_LOG, since=SINCE)
def get_log(request: Request) -> dict[str, Any]:
    levels = {name: logging.getLevelName(log.getEffectiveLevel()) for name, log in _loggers(request)}
    row = {'host': settings().table_prefix, 'binary': BINARY, 'levels': levels}
    return {'log_levels': [row] if _is_asked(request) else []}


@services.put('/set-log', policy=UPDATE, schema=SET_LOG, status=202, since=SINCE)
def set_log(request: Request) -> None:
    level = str(request.body.get('level') or '').upper()
    if level not in LEVELS:
        raise errors.InvalidInput(reason=f'{request.body.get("level")} is not a valid log level.')
    if not _is_asked(request):
        raise errors.InvalidInput(
            reason=f'the log level of {request.body.get("binary")} is a parameter of the deployment: deploy it anew.'
        )
    for _, log in _loggers(request):
        log.setLevel(level)


def _is_asked(request: Request) -> bool:
    """Whether the request is about the API, at this deployment."""
    asked = request.body.get('binary') or '*'
    return asked in ('*', BINARY) and request.body.get('server') in (None, '', settings().table_prefix)


def _loggers(request: Request) -> Iterator[tuple[str, logging.Logger]]:
    """The loggers of this process under the prefix; without one, those of this service."""
    prefix = request.body.get('prefix') or 'chalicelib'
    known = logging.root.manager.loggerDict
    for name in sorted(known):
        if name.startswith(prefix) and isinstance(known[name], logging.Logger):
            yield name, logging.getLogger(name)
