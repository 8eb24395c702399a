"""Storage backends, scheduling and images; the backup engine and its repository; devices."""

from __future__ import annotations

from chalicelib.errors.base import CinderlessError, OutcomeUnknown
from chalicelib.errors.request_errors import Invalid


class NoValidBackend(CinderlessError):
    code = 500
    template = 'No valid backend was found. {reason}'


class ImageCopyFailure(CinderlessError):
    """An image could not be copied to a volume, or a volume to an image, or its bytes differ from its hash."""

    template = 'Failed to copy image: {reason}'


class ImageTooBig(Invalid):
    template = 'Image {id} size exceeded available disk space: {reason}'


class DriverError(CinderlessError):
    """A backend refused or failed; another candidate may succeed."""

    template = 'The storage backend {backend} failed: {reason}'


class BackendUnavailable(DriverError):
    """The backend is down, slow or unintelligible: a later retry may succeed."""

    code = 503

    is_transient = True
    may_be_done = True


class WorkerUnavailable(OutcomeUnknown, BackendUnavailable):
    """A synchronously invoked worker did not answer, or died: its task may be done or still in progress."""


class NotReady(BackendUnavailable):
    """The backend still prepares an object; a later retry may succeed."""

    template = 'The storage backend {backend} is not ready: {reason}'


class BackendFull(DriverError):
    template = 'The storage backend {backend} has no space for {size} GiB: {reason}'


class BackendMisconfigured(DriverError):
    """The backends document, its secret or its certificate is wrong; the message names the key."""

    template = 'The backend {backend} is misconfigured: {reason}'


class ProviderNotFound(DriverError):
    """A required object is missing on the backend (raised only by verbs that need it)."""

    template = 'The storage backend {backend} has no {object}.'


class VolumeIsBusy(DriverError):
    template = 'Volume {id} is busy on its backend: {reason}'


class SnapshotIsBusy(DriverError):
    template = 'Snapshot {id} is busy on its backend: {reason}'


class VolumeMigrationFailed(DriverError):
    """The migration is impossible; the volume stays unchanged."""

    template = 'Volume migration failed: {reason}'


class NotSupported(DriverError):
    template = 'The storage backend {backend} does not support {operation}: {reason}'


class BackupError(CinderlessError):
    template = 'The backup failed: {reason}'


class RepositoryError(BackupError):
    """The repository (S3, a folder) refused, failed, or lacks an object."""

    template = 'The backup repository failed at {key}: {reason}'


class ObjectExists(RepositoryError):
    """A put that must not overwrite found an existing object: another worker was first."""

    template = 'The backup repository already holds {key}.'


class ObjectMissing(RepositoryError):
    template = 'The backup repository lacks {key}.'


class IntegrityError(BackupError):
    """Stored bytes differ from the written ones; nothing of them was written to a volume."""

    template = 'The backup is damaged at {key}: {reason}'


class UnsupportedFormat(BackupError):
    """A backup of a later release, which this one cannot read."""


class BackupCanceled(BackupError):
    template = 'The backup {id} was cancelled.'


class KeyUnavailable(BackupError):
    """A backup's data key cannot be unwrapped: wrong or unreachable key."""

    template = 'The data key of backup lineage {lineage} cannot be unwrapped: {reason}'


class LeaseLost(BackupError):
    """Another collector holds the lineage's lease now; nothing more may be deleted under the old one."""

    template = 'The lease on backup lineage {lineage} is lost: another collection is running.'


class DeviceError(CinderlessError):
    """The data path to a volume failed."""

    template = 'The device {device} failed: {reason}'


class LoginFailed(DeviceError):
    """The target refused the login: wrong CHAP secret, unknown initiator, no such target."""


class DeviceUnreachable(DeviceError):
    """No portal can be reached, or the session was lost and could not be restored."""


class DeviceTimeout(DeviceError):
    template = 'The device {device} did not answer in {seconds} s: {reason}'


class ProtocolError(DeviceError):
    """The target violated the iSCSI protocol; the session is closed."""


class CheckCondition(DeviceError):
    """The device answered a SCSI command with an error; sense data is in the message."""


class DeviceFull(CheckCondition):
    """A write failed because the pool behind the device has no space left."""

    template = 'The device {device} takes no more data: its pool is full. Free space in the pool, or add some.'


class InvalidRange(DeviceError):
    """The range is beyond the device's end, or not in whole blocks; nothing was sent to the device."""
