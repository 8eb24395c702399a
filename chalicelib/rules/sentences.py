"""What users read of an error: one sentence that helps them, without the inside of the service.

The text of a driver, of AWS or of another service names backends, pools, hosts, addresses, initiators and requests of
other users. It is for administrators and the log. A user reads the sentence of the error's class; only the classes in
``OWN`` have texts that are made for users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from chalicelib import errors

#: Classes whose own message a user reads, with their subclasses.
OWN: frozenset[type[errors.CinderlessError]] = frozenset(
    {
        errors.Invalid,
        errors.Unauthorized,
        errors.PolicyNotAuthorized,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.NotAcceptable,
        errors.VersionNotAcceptable,
        errors.Conflict,
        errors.RequestTooLarge,
        errors.RecordTooLarge,
        errors.OverQuota,
        errors.UnsupportedMediaType,
        errors.IdempotencyKeyReused,
        errors.TooManyGuesses,
        errors.RateLimited,
        errors.QuotaChanged,
        errors.StateChanged,
        errors.VolumeTypeDefaultMisconfiguredError,
        errors.NoValidBackend,
        errors.ImageCopyFailure,
        errors.VolumeMigrationFailed,
        errors.BackupCanceled,
    }
)

#: Class -> the sentence of it and of its subclasses, unless they have one of their own.
SENTENCES: Mapping[type[errors.CinderlessError], str] = {
    errors.CinderlessError: errors.CinderlessError.template,
    errors.ServiceUnavailable: 'The service is unavailable now. Try again.',
    errors.OutcomeUnknown: errors.OutcomeUnknown.template,
    errors.DriverError: 'The storage backend could not do this. Try again later, or contact your administrator.',
    errors.BackendUnavailable: 'The storage backend gave no answer in time. Try again later.',
    errors.NotReady: 'The storage backend is still busy with an earlier request. Try again later.',
    errors.BackendFull: (
        'The storage backend has no space left for this. Choose a smaller size or another volume type, or contact your '
        'administrator.'
    ),
    errors.BackendMisconfigured: 'The storage backend is not configured for this. Contact your administrator.',
    errors.ProviderNotFound: 'The storage backend does not have this data any more. Contact your administrator.',
    errors.VolumeIsBusy: (
        'The storage backend still uses the volume: it is connected to a server, or something is being copied from it. '
        'Detach it, or try again later.'
    ),
    errors.SnapshotIsBusy: (
        'The storage backend still uses the snapshot: something depends on it. Delete what was made from it, or try '
        'again later.'
    ),
    errors.NotSupported: 'The storage backend does not support this. Choose another volume type.',
    errors.BackupError: 'The backup service could not do this. Try again later, or contact your administrator.',
    errors.RepositoryError: 'The backup repository could not do this. Try again later, or contact your administrator.',
    errors.IntegrityError: (
        'The backup is damaged: what is stored is not what was written. Use another backup, and contact your '
        'administrator.'
    ),
    errors.KeyUnavailable: "The key of the backup's data cannot be opened. Contact your administrator.",
    errors.LeaseLost: 'Another request is cleaning up the same backups. Try again later.',
    errors.DeviceFull: (
        'The storage backend has no space left for the data of the volume. Try again when there is space, or contact '
        'your administrator.'
    ),
    errors.DeviceError: 'The data of the volume could not be reached. Try again later, or contact your administrator.',
}

#: For what no task raised: a worker that ran out of time or memory, or that AWS did not start.
INTERRUPTED = 'The service could not finish this. Try again, or contact your administrator.'


def message_of(cause: str) -> str:
    """Return the message of an error as Step Functions reports its cause: JSON from Lambda, else text."""
    try:
        return str(json.loads(cause)['errorMessage'])
    except (ValueError, KeyError, TypeError, RecursionError):
        return cause


def for_users(error: str, message: str) -> str:
    """Return what a user reads of an error: ``error`` is the name of its class, ``message`` its whole text."""
    kind = getattr(errors, error, None)
    if not (isinstance(kind, type) and issubclass(kind, errors.CinderlessError)):
        return INTERRUPTED
    for one in kind.__mro__:
        if one in OWN:
            return message
        if one in SENTENCES:
            return SENTENCES[one]
    return INTERRUPTED
