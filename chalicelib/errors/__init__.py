"""All errors of the service, in one tree, under Cinder's own names.

    CinderlessError
    |-- Invalid (400)            InvalidInput, InvalidVolume, InvalidSnapshot, InvalidBackup, InvalidVolumeType, ...
    |-- Unauthorized (401)
    |-- PolicyNotAuthorized (403)
    |-- NotFound (404)           VolumeNotFound, SnapshotNotFound, BackupNotFound, ...
    |-- NotAcceptable, VersionNotAcceptable (406)
    |-- Conflict (409)           VolumeTypeExists, ConflictNovaUsingAttachment, ...
    |-- OverQuota (413)          VolumeLimitExceeded, VolumeSizeExceedsAvailableQuota, ...
    |-- RecordTooLarge, RateLimited (413)
    |-- UnsupportedMediaType (415)
    |-- IdempotencyKeyReused (422)
    |-- TooManyGuesses (429)
    |-- ServiceUnavailable (503) nothing was done, and a retry may succeed
    |   |-- EncryptionKeyDisabled    a KMS key is disabled or awaits its deletion
    |   |-- OutcomeUnknown           no answer: the request may have taken effect
    |       |-- WorkerUnavailable    the same of a synchronous worker; also a BackendUnavailable
    |-- AwsRefused (500)         AWS refuses the call, and would refuse a retry
    |-- NoValidBackend           no candidate is left: the volume gets status `error` and a user message
    |-- ImageCopyFailure         an image's bytes are missing or differ from its hash
    |-- DriverError              a backend refused or failed
    |   |-- BackendUnavailable       down, slow or unintelligible: another candidate may succeed
    |   |-- BackendFull              no space: another candidate may succeed
    |   |-- VolumeIsBusy, SnapshotIsBusy, InvalidConnector, ...
    |-- BackupError              RepositoryError, IntegrityError (a stored byte is wrong), BackupCanceled,
    |                            UnsupportedFormat, KeyUnavailable, LeaseLost
    |-- DeviceError              the data path: LoginFailed, DeviceUnreachable, DeviceTimeout, ProtocolError,
    |                            CheckCondition, DeviceFull, InvalidRange

State machines catch errors by class name, so a name is part of the interface. Messages are shown to users: they state
what is wrong, with which value, and what to do. They never contain a secret.
"""

from __future__ import annotations

from chalicelib.errors.backend_errors import *  # noqa: F403 - all errors are exported here
from chalicelib.errors.base import *  # noqa: F403 - all errors are exported here
from chalicelib.errors.not_found_errors import *  # noqa: F403 - all errors are exported here
from chalicelib.errors.request_errors import *  # noqa: F403 - all errors are exported here
