"""What a request may be refused with. ``code`` is what the driver tells errors by; the message is for people."""

from __future__ import annotations


class ApplianceError(Exception):
    """The agent itself failed; the request may be repeated."""

    status = 500
    code = 'internal'


class Invalid(ApplianceError):
    """The request says something that can never be done."""

    status = 400
    code = 'invalid'


class BadInitiator(Invalid):
    """What a host calls its initiator is no iSCSI name: the host's fault, and not the driver's."""

    code = 'initiator'


class BadSignature(ApplianceError):
    """The request is not signed, or not with this agent's secret."""

    status = 401
    code = 'signature'


class BadTime(ApplianceError):
    """The clocks differ too much, or the request is older than this agent's start."""

    status = 401
    code = 'clock'


class Replayed(ApplianceError):
    """This very request was served before."""

    status = 401
    code = 'replayed'


class NotFound(ApplianceError):
    """The object named in the path, or as a source, does not exist."""

    status = 404
    code = 'not_found'


class NoPool(ApplianceError):
    """The agent was not started with such a pool. Not the same as an object that is gone: nothing is known of it."""

    status = 404
    code = 'pool'


class NoRoute(ApplianceError):
    """No such path, or no such method there."""

    status = 404
    code = 'route'


class Conflict(ApplianceError):
    """The name is taken by something else than what was asked for."""

    status = 409
    code = 'conflict'


class Busy(ApplianceError):
    """A session or an export stands in the way."""

    status = 409
    code = 'busy'


class TooLarge(ApplianceError):
    """The body is larger than any request needs."""

    status = 413
    code = 'too_large'


class Unavailable(ApplianceError):
    """Another request holds the object, or tgtd or a command does not answer; repeat the request later."""

    status = 503
    code = 'unavailable'


class Full(ApplianceError):
    """The pool has no room."""

    status = 507
    code = 'full'
