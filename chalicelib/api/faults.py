"""Errors in Cinder's form: ``{"<fault name>": {"code": ..., "message": ...}}``.

Errors before the API proper have other bodies: Keystone's 401, and the router's 404 for an unknown path or method
(Cinder never answers 405 for those).
"""

from __future__ import annotations

import logging
from typing import Any

from chalice.app import Response

from chalicelib import errors
from chalicelib.api.negotiation import Stamp
from chalicelib.api.reply import reply
from chalicelib.context import new_request_id
from chalicelib.rules.sentences import for_users

LOG = logging.getLogger('cinderless')

#: Status -> name of the fault; any other status is a computeFault.
NAMES = {
    400: 'badRequest',
    401: 'unauthorized',
    403: 'forbidden',
    404: 'itemNotFound',
    405: 'badMethod',
    409: 'conflictingRequest',
    413: 'overLimit',
    415: 'badMediaType',
    501: 'notImplemented',
    503: 'serviceUnavailable',
}

#: Errors of Cinder's outermost filter: the class name precedes the message.
NAMED = (errors.OverQuota, errors.ConflictNovaUsingAttachment)

#: Seconds after which a client may retry a request that failed temporarily.
RETRY_AFTER = '5'

#: The message of Cinder's rate limits; its fault has another name than that of quotas, and ``details``.
RATE_LIMITED = 'This request was rate-limited.'

#: The router's own 404, in the words of Cinder's web framework.
NO_ROUTE = {
    'message': 'The resource could not be found.<br /><br />\n\n\n',
    'code': '404 Not Found',
    'title': 'Not Found',
}


def fault(code: int, message: str, **more: Any) -> Response:
    """Return one fault in Cinder's form."""
    return reply(code, {NAMES.get(code, 'computeFault'): {'code': code, 'message': message, **more}})


def refusal(error: errors.CinderlessError, *, whole: bool = False) -> Response:
    """Return the response for an error of the service; ``whole``: with its full text, for administrators."""
    shown = error.message if whole else for_users(type(error).__name__, error.message)
    if shown != error.message:
        LOG.warning('the request ended in %s: %s', type(error).__name__, error.message)
    message = f'{type(error).__name__}: {shown}' if isinstance(error, NAMED) else shown
    if error.code == 503:
        response = fault(error.code, message)
        response.headers['Retry-After'] = RETRY_AFTER
        return response
    if isinstance(error, errors.RateLimited):
        limited = {'code': error.code, 'message': RATE_LIMITED, 'details': message}
        return reply(error.code, {'overLimitFault': limited}, {'Retry-After': str(error.facts['seconds'])})
    if isinstance(error, errors.IdempotencyKeyInUse):
        response = fault(error.code, message)
        response.headers['Retry-After'] = str(error.facts['seconds'])
        return response
    if not isinstance(error, errors.OverQuota):
        return fault(error.code, message)
    response = fault(error.code, message, retryAfter='0')
    response.headers['Retry-After'] = '0'
    return response


def hidden() -> Response:
    """Return the response for an unexpected error, without details."""
    return fault(500, errors.CinderlessError.template)


def no_route() -> Response:
    """Return the response for an unknown path or method, with a request id."""
    return reply(404, NO_ROUTE, Stamp(new_request_id()).headers())


def log_unexpected(request_id: str, error: Exception) -> None:
    """Log where an unexpected error arose: its class and AWS's code, not its text, which may quote the request."""
    steps = []
    trace = error.__traceback__
    while trace is not None:
        steps.append(f'{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} {trace.tb_frame.f_code.co_name}')
        trace = trace.tb_next
    LOG.error('%s failed with %s %s at %s', request_id, type(error).__name__, _aws_code(error), ' > '.join(steps))


def _aws_code(error: Exception) -> str:
    """Return the code in a ClientError of botocore or an error of PynamoDB, '' for others."""
    answer = getattr(error, 'response', None)
    code = answer.get('Error', {}).get('Code') if isinstance(answer, dict) else None
    return str(code or getattr(error, 'cause_response_code', None) or '')
