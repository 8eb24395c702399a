"""Log levels (os-services get-log, set-log) of the process that answers, as in Cinder's API.

The functions behind the API have no address and no permanent process: their log level is a parameter of the
deployment. So they have no row, and a request that names one of them is refused with that message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from chalicelib import errors, telemetry
from chalicelib.api import parameters as p
from chalicelib.api.request import Request
from chalicelib.api.services import UPDATE, services
from chalicelib.config import settings

SINCE = '3.32'

BINARY = 'cinder-api'

#: The names that a body may contain; '' and '*' mean all.
BINARIES = ('cinder-scheduler', 'cinder-volume', 'cinder-backup', BINARY, '', '*')

LEVELS = ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG')

_LOGS = {'binary': {'type': 'string', 'enum': list(BINARIES)}, 'server': p.SHORT_TEXT, 'prefix': p.SHORT_TEXT}

GET_LOG = p.members(_LOGS)
SET_LOG = p.members({**_LOGS, 'level': {'type': ['string', 'null'], 'maxLength': 255}})


@services.put('/get-log', policy=UPDATE, schema=GET_LOG, since=SINCE)
def get_log(request: Request) -> dict[str, Any]:
    levels = {name: logging.getLevelName(log.getEffectiveLevel()) for name, log in _loggers(request)}
    row = {'host': settings().table_prefix, 'binary': BINARY, 'levels': levels}
    return {'log_levels': [row] if _is_addressed(request) else []}


@services.put('/set-log', policy=UPDATE, schema=SET_LOG, status=202, since=SINCE)
def set_log(request: Request) -> None:
    level = str(request.body.get('level') or '').upper()
    if level not in LEVELS:
        raise errors.InvalidInput(reason=f'{request.body.get("level")} is not a valid log level.')
    if not _is_addressed(request):
        raise errors.InvalidInput(
            reason=f'the log level of {request.body.get("binary")} is a parameter of the deployment: deploy again.'
        )
    if str(request.body.get('prefix') or '').partition('.')[0] in telemetry.LIBRARIES:
        raise errors.InvalidInput(
            reason=f'the log level of {request.body["prefix"]} cannot be changed: its lines would contain keys.'
        )
    for _, log in _loggers(request):
        log.setLevel(level)


def _is_addressed(request: Request) -> bool:
    """Whether the request addresses the API of this deployment."""
    binary = request.body.get('binary') or '*'
    return binary in ('*', BINARY) and request.body.get('server') in (None, '', settings().table_prefix)


def _loggers(request: Request) -> Iterator[tuple[str, logging.Logger]]:
    """Return the loggers of this process under the prefix; without one, those of this service. Never a library's."""
    prefix = request.body.get('prefix') or 'chalicelib'
    known = logging.root.manager.loggerDict
    for name in sorted(known):
        own = name.partition('.')[0] not in telemetry.LIBRARIES
        if own and name.startswith(prefix) and isinstance(known[name], logging.Logger):
            yield name, logging.getLogger(name)
