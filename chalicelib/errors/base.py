"""The base of all errors; failures of this service and of the services that it calls (500, 503)."""

from __future__ import annotations


class CinderlessError(Exception):
    """The base of all errors; ``code`` is the HTTP status of the API's answer."""

    code = 500
    #: Whether a later retry of the same request may succeed.
    is_transient = False
    #: Whether the request may have taken effect in spite of the error.
    may_be_done = False
    template = 'The server has either erred or is incapable of performing the requested operation.'

    def __init__(self, message: str | None = None, **facts: object) -> None:
        self.facts = facts
        self.message = message if message is not None else self.template.format(**facts)
        super().__init__(self.message)


class ServiceUnavailable(CinderlessError):
    """Nothing was done, and the same request may succeed later."""

    code = 503
    is_transient = True
    template = 'The service is unavailable: {reason}'


class OutcomeUnknown(ServiceUnavailable):
    """No answer, or a failure on the other side: the request may have taken effect."""

    may_be_done = True
    template = 'The service gave no answer in time: the request may still take effect. Look before you repeat it.'


class EncryptionKeyDisabled(ServiceUnavailable):
    """A KMS key of this deployment is disabled or awaits its deletion. Nothing was done; an operator can enable it."""

    template = (
        'An encryption key of the service is disabled. Try again when an administrator has enabled it in AWS KMS.'
    )


class AwsRefused(CinderlessError):
    """AWS refuses a call, and would refuse a retry: permissions, configuration, or a bug of this service.

    Users see the template; ``facts`` and the log have the operation and AWS's code.
    """


class QuotaChanged(ServiceUnavailable):
    """A reservation used outdated limits; a retry uses the current ones."""

    template = 'The quota of project {project_id} is being changed by other requests; try again.'


class StateChanged(CinderlessError):
    """A conditional write failed: the record is not in the state that the caller expected.

    Operations translate it to the resource's own 400 or 404; for tasks it means that another execution was first.
    """

    code = 409
    template = 'The {resource} {id} is in status {status}, not in {expected}.'
