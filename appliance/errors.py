"""The errors of requests. The driver distinguishes them by ``code``; the message is for people."""

from __future__ import annotations


class ApplianceError(Exception):
    """The agent failed; the request may be retried."""

    status = 500
    code = 'internal'


class Invalid(ApplianceError):
    """The request can never succeed."""

    status = 400
    code = 'invalid'


class BadInitiator(Invalid):
    """The initiator's name is not an iSCSI name: an error of the host, not of the driver."""

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
    """This request was served before."""

    status = 401
    code = 'replayed'


class NotFound(ApplianceError):
    """The object named in the path, or as a source, does not exist."""

    status = 404
    code = 'not_found'


class NoPool(ApplianceError):
    """The agent has no pool of this name. It does not mean that the object is missing."""

    status = 404
    code = 'pool'


class NoRoute(ApplianceError):
    """Unknown path, or a method that it does not support."""

    status = 404
    code = 'route'


class Conflict(ApplianceError):
    """The name belongs to an object other than the requested one."""

    status = 409
    code = 'conflict'


class Busy(ApplianceError):
    """A session or an export prevents the operation."""

    status = 409
    code = 'busy'


class NotComparable(ApplianceError):
    """The store cannot list what differs between two snapshots: anything may."""

    status = 409
    code = 'incomparable'


class TooLarge(ApplianceError):
    """The body is larger than any request needs."""

    status = 413
    code = 'too_large'


class Unavailable(ApplianceError):
    """Another request has locked the object, or tgtd or a command does not answer; retry later."""

    status = 503
    code = 'unavailable'


class Full(ApplianceError):
    """The pool lacks capacity."""

    status = 507
    code = 'full'


class OutOfSpace(Full):
    """Nothing more can be written: deleting objects helps, unlike with a promise that is too large."""
