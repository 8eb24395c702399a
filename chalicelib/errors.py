"""Every error the service raises, in one tree, under Cinder's own names.

    CinderlessError
    |-- Invalid (400)            InvalidInput, InvalidVolume, InvalidSnapshot, InvalidBackup, InvalidVolumeType, ...
    |-- Unauthorized (401)
    |-- PolicyNotAuthorized (403)
    |-- NotFound (404)           VolumeNotFound, SnapshotNotFound, BackupNotFound, ...
    |-- NotAcceptable, VersionNotAcceptable (406)
    |-- Conflict (409)           VolumeTypeExists, ConflictNovaUsingAttachment, ...
    |-- OverQuota (413)          VolumeLimitExceeded, VolumeSizeExceedsAvailableQuota, ...
    |-- RecordTooLarge (413)
    |-- UnsupportedMediaType (415)
    |-- TooManyGuesses (429)
    |-- ServiceUnavailable (503) nothing was done, and a repetition may succeed
    |   |-- EncryptionKeyDisabled    a KMS key is disabled or awaits its deletion
    |   |-- OutcomeUnknown           no answer came: what was requested may have been done
    |       |-- WorkerUnavailable    the same of a synchronous worker; also a BackendUnavailable
    |-- AwsRefused (500)         AWS refuses the call, and would refuse it again
    |-- NoValidBackend           no candidate is left: the volume goes to `error` with a user message
    |-- ImageCopyFailure         an image's bytes did not arrive, or are not those that were promised
    |-- DriverError              a backend refused or failed
    |   |-- BackendUnavailable       down, slow or unintelligible: another candidate may do
    |   |-- BackendFull              no space: another candidate may do
    |   |-- VolumeIsBusy, SnapshotIsBusy, InvalidConnector, ...
    |-- BackupError              RepositoryError, IntegrityError (a stored byte is wrong), BackupCanceled,
    |                            UnsupportedFormat, KeyUnavailable, LeaseLost
    |-- DeviceError              the data path: LoginFailed, DeviceUnreachable, DeviceTimeout, ProtocolError,
    |                            CheckCondition, DeviceFull, InvalidRange

A class name is also the error name that a state machine catches, so a name is part of the interface.
Messages are shown to users: they say what is wrong, with which value, and what to do. They never hold a secret.
"""

from __future__ import annotations


class CinderlessError(Exception):
    """Base of all errors; ``code`` is the HTTP status the API answers with."""

    code = 500
    #: Whether the same request, repeated later, may succeed.
    is_transient = False
    #: Whether what was requested may have been done in spite of the error.
    may_be_done = False
    template = 'The server has either erred or is incapable of performing the requested operation.'

    def __init__(self, message: str | None = None, **facts: object) -> None:
        self.facts = facts
        self.message = message if message is not None else self.template.format(**facts)
        super().__init__(self.message)


class Invalid(CinderlessError):
    code = 400
    template = 'Unacceptable parameters.'


class AttributeTooLarge(Invalid):
    """A user-filled attribute is beyond its bound of rules/bounds.py; the message names the limit."""

    template = 'Invalid input received: {name} may have at most {limit}; with this request it would have {found}.'


class ValidationError(Invalid):
    """The body does not match the route's schema; the message is Cinder's schema message."""


class InvalidInput(Invalid):
    template = 'Invalid input received: {reason}'


class InvalidVolume(Invalid):
    template = 'Invalid volume: {reason}'


class InvalidSnapshot(Invalid):
    template = 'Invalid snapshot: {reason}'


class InvalidBackup(Invalid):
    template = 'Invalid backup: {reason}'


class InvalidGroup(Invalid):
    template = 'Invalid Group: {reason}'


class InvalidGroupSnapshot(Invalid):
    template = 'Invalid GroupSnapshot: {reason}'


class InvalidGroupType(Invalid):
    template = 'Invalid group type: {reason}'


class GroupTypeInUse(Invalid):
    template = 'Group type {id} has groups: delete them first.'


class InvalidAuthKey(Invalid):
    template = 'Invalid auth key: {reason}'


class InvalidVolumeType(Invalid):
    template = 'Invalid volume type: {reason}'


class InvalidAPIVersionString(Invalid):
    template = 'API Version String {version} is of invalid format. Must be of format MajorNum.MinorNum.'


class MalformedRequest(Invalid):
    template = 'The server could not comply with the request since it is either malformed or otherwise incorrect.'


class InvalidParameterValue(Invalid):
    template = '{err}'


class InvalidAvailabilityZone(Invalid):
    template = "Availability zone '{az}' is invalid."


class InvalidTypeAvailabilityZones(Invalid):
    template = "Volume type is only usable in AZs '{az}'."


class InvalidUUID(Invalid):
    template = 'Expected a uuid but received {uuid}.'


class HintNotSupported(Invalid):
    template = 'Hint "{hint}" not supported: {reason}'


class ExpressionError(Invalid):
    """A filter_function or goodness_function does not parse or cannot be computed."""

    template = 'Invalid expression {reason}'


class InvalidConnector(Invalid):
    template = "Connector doesn't have required information: {missing}"


class InvalidHost(Invalid):
    template = 'Invalid host: {reason}'


class ImageUnacceptable(Invalid):
    template = 'Image {id} is unacceptable: {reason}'


class ManageExistingInvalidReference(Invalid):
    template = 'Manage existing volume failed due to invalid backend reference {existing_ref}: {reason}'


class InvalidAttachmentMode(Invalid):
    template = "Invalid attaching mode '{mode}' for volume {volume_id}."


class Unauthorized(CinderlessError):
    """No token, or one that is unknown, expired or revoked."""

    code = 401
    template = 'The request you have made requires authentication.'


class PolicyNotAuthorized(CinderlessError):
    code = 403
    template = "Policy doesn't allow {action} to be performed."


class NotFound(CinderlessError):
    code = 404
    template = 'The resource could not be found.'


class VolumeNotFound(NotFound):
    template = 'Volume {id} could not be found.'


class SnapshotNotFound(NotFound):
    template = 'Snapshot {id} could not be found.'


class BackupNotFound(NotFound):
    template = 'Backup {id} could not be found.'


class TransferNotFound(NotFound):
    template = 'Transfer {id} could not be found.'


class GroupNotFound(NotFound):
    template = 'Group {id} could not be found.'


class GroupSnapshotNotFound(NotFound):
    template = 'GroupSnapshot {id} could not be found.'


class GroupTypeNotFound(NotFound):
    template = 'Group type {id} could not be found.'


class GroupTypeNotFoundByName(GroupTypeNotFound):
    template = 'Group type with name {name} could not be found.'


class GroupTypeSpecsNotFound(NotFound):
    template = 'Group Type {id} has no specs with key {key}.'


class BackupScheduleNotFound(NotFound):
    template = 'Backup schedule {id} could not be found.'


class AttachmentNotFound(NotFound):
    template = 'Volume attachment could not be found with filter: attachment_id = {id}.'


class MessageNotFound(NotFound):
    template = 'Message {id} could not be found.'


class VolumeTypeNotFound(NotFound):
    template = 'Volume type {id} could not be found.'


class VolumeTypeNotFoundByName(VolumeTypeNotFound):
    template = 'Volume type with name {name} could not be found.'


class VolumeTypeAccessNotFound(NotFound):
    template = 'Volume type access not found for {id} / {project_id} combination.'


class VolumeTypeExtraSpecsNotFound(NotFound):
    template = 'Volume Type {id} has no extra specs with key {key}.'


class VolumeMetadataNotFound(NotFound):
    template = 'Volume {id} has no metadata with key {key}.'


class SnapshotMetadataNotFound(NotFound):
    template = 'Snapshot {id} has no metadata with key {key}.'


class GlanceMetadataNotFound(NotFound):
    template = 'Glance metadata for volume/snapshot {id} cannot be found.'


class VolumeTypeEncryptionNotFound(NotFound):
    template = 'Volume type encryption for type {type_id} does not exist.'


class VolumeTypeProjectDefaultNotFound(NotFound):
    template = 'Default type for project {id} not found.'


class QoSSpecsNotFound(NotFound):
    template = 'No such QoS spec {id}.'


class QoSSpecsKeyNotFound(NotFound):
    template = 'QoS spec {id} has no spec with key {key}.'


class SecretNotFound(NotFound):
    template = 'Key {id} could not be found.'


class ImageNotFound(NotFound):
    template = 'Image {id} could not be found.'


class ServiceNotFound(NotFound):
    template = 'Service {id} could not be found.'


class ServiceNotFoundOnHost(ServiceNotFound):
    template = 'Service {binary} could not be found on host {host}.'


class HostNotFound(NotFound):
    template = 'Host {id} could not be found.'


class ClusterNotFound(NotFound):
    template = 'Cluster {id} could not be found.'


class MethodNotAllowed(CinderlessError):
    code = 405
    template = 'The method is not allowed.'


class NotAcceptable(CinderlessError):
    """The Accept header allows no form that the answer has."""

    code = 406
    template = 'The answer is {content_type}: send that as the first type of the Accept header.'


class VersionNotAcceptable(CinderlessError):
    code = 406
    template = 'Version {version} is not supported by the API. Minimum is {minimum} and maximum is {maximum}.'


class Conflict(CinderlessError):
    code = 409
    template = 'The request conflicts with the current state of the resource.'


class TypeChanged(Conflict):
    """A volume or group type was changed by another request between being read and being used."""

    template = 'The {resource} {id} is being changed by another request; try again.'


class ResourceConflict(Conflict):
    template = 'Resource conflict: {reason}'


class VolumeTypeExists(Conflict):
    template = 'Volume Type {id} already exists.'


class QoSSpecsExists(Conflict):
    template = 'QoS Specs {id} already exists.'


class GroupTypeExists(Conflict):
    template = 'Group Type {id} already exists.'


class VolumeTypeAccessExists(Conflict):
    template = 'Volume type access for {id} / {project_id} combination already exists.'


class VolumeTypeDefaultDeletionError(Invalid):
    template = 'The volume type {id} is a default volume type and cannot be deleted.'


class VolumeTypeDefaultMisconfiguredError(CinderlessError):
    template = 'The request cannot be fulfilled as the default volume type {name} cannot be found.'


class VolumeTypeInUse(Invalid):
    template = 'Volume Type {id} deletion is not allowed with volumes present with the type.'


class QoSSpecsInUse(Invalid):
    template = 'Qos specs still in use.'


class InvalidQoSSpecs(Invalid):
    template = 'Invalid qos specs: {reason}'


class VolumeTypeEncryptionExists(Invalid):
    template = 'Volume type encryption for type {type_id} already exists.'


class ConflictNovaUsingAttachment(Conflict):
    template = 'Detach volume from instance {instance_id} using the Compute API'


class RequestTooLarge(CinderlessError):
    code = 413
    template = 'The request body has {size} bytes: send at most {limit}.'


class RecordTooLarge(CinderlessError):
    """DynamoDB refuses an item above its limit: what rules/bounds.py lets through may not add up to that."""

    code = 413
    template = 'The resource would hold more than can be stored. Send less.'


class OverQuota(CinderlessError):
    """Quota refusals: 413 with ``Retry-After: 0`` and the class name before the message, as Cinder answers."""

    code = 413
    template = 'Quota exceeded for resources: {overs}'


class VolumeLimitExceeded(OverQuota):
    template = "Maximum number of volumes allowed ({allowed}) exceeded for quota '{name}'."


class SnapshotLimitExceeded(OverQuota):
    template = 'Maximum number of snapshots allowed ({allowed}) exceeded'


class BackupLimitExceeded(OverQuota):
    template = 'Maximum number of backups allowed ({allowed}) exceeded'


class VolumeSizeExceedsAvailableQuota(OverQuota):
    template = (
        'Requested volume or snapshot exceeds allowed {name} quota. '
        'Requested {requested}G, quota is {quota}G and {consumed}G has been consumed.'
    )


class VolumeBackupSizeExceedsAvailableQuota(OverQuota):
    template = (
        'Requested backup exceeds allowed Backup gigabytes quota. '
        'Requested {requested}G, quota is {quota}G and {consumed}G has been consumed.'
    )


class QuotaUsageOverflow(OverQuota):
    template = (
        'Quota usage would overflow for resources: {overs}. '
        'The requested operation would exceed the maximum allowed value ({max_int}) for quota tracking.'
    )


class GroupLimitExceeded(OverQuota):
    template = 'Maximum number of groups allowed ({allowed}) exceeded'


class VolumeSizeExceedsLimit(OverQuota):
    template = 'Requested volume size {size}G is larger than maximum allowed limit {limit}G.'


class TooManyGuesses(CinderlessError):
    """Passwords or secrets were guessed too often (identity/guesses.py)."""

    code = 429
    template = 'Too many failed attempts to authenticate: try again in {seconds} seconds.'


class UnsupportedMediaType(CinderlessError):
    code = 415
    template = 'The content type {content_type} is not supported: send application/json.'


class ServiceUnavailable(CinderlessError):
    """Nothing was done, and the same request may succeed later."""

    code = 503
    is_transient = True
    template = 'The service is unavailable: {reason}'


class OutcomeUnknown(ServiceUnavailable):
    """No answer, or a failure on the other side: what was requested may have been done."""

    may_be_done = True
    template = 'The service gave no answer in time: the request may still take effect. Look before you repeat it.'


class EncryptionKeyDisabled(ServiceUnavailable):
    """A KMS key of this deployment is disabled or awaits its deletion. Nothing was done; an operator can enable it."""

    template = (
        'An encryption key of the service is disabled. Ask an administrator to enable it in AWS KMS, then try again.'
    )


class AwsRefused(CinderlessError):
    """AWS refuses a call, and would refuse it again: rights, configuration, or a fault of this service.

    Users read the template; ``facts`` and the log have the operation and AWS's code.
    """


class QuotaChanged(ServiceUnavailable):
    """A reservation was made on limits that are no longer in force; repeated, it is made on those that are."""

    template = 'The quota of project {project_id} is being changed by other requests; try again.'


class StateChanged(CinderlessError):
    """A conditional write lost: the record is not in the state that the caller expected.

    Operations turn it into the resource's own 400 or 404; tasks take it as "somebody else did this already".
    """

    code = 409
    template = 'The {resource} {id} is in status {status}, not in {expected}.'


class NoValidBackend(CinderlessError):
    code = 500
    template = 'No valid backend was found. {reason}'


class ImageCopyFailure(CinderlessError):
    """An image could not be copied to a volume, or a volume to an image, or arrived with other bytes."""

    template = 'Failed to copy image: {reason}'


class ImageTooBig(Invalid):
    template = 'Image {id} size exceeded available disk space: {reason}'


class DriverError(CinderlessError):
    """A backend refused or failed, and another candidate may do better."""

    template = 'The storage backend {backend} failed: {reason}'


class BackendUnavailable(DriverError):
    """The backend is down, slow, or answers what cannot be understood: the same request may succeed later."""

    code = 503

    is_transient = True
    may_be_done = True


class WorkerUnavailable(OutcomeUnknown, BackendUnavailable):
    """A worker that was invoked synchronously gave no answer, or died: its task may be done, or still be at work."""


class NotReady(BackendUnavailable):
    """The backend is still at work on an object; a repeat may find it done."""

    template = 'The storage backend {backend} is not ready: {reason}'


class BackendFull(DriverError):
    template = 'The storage backend {backend} has no space for {size} GiB: {reason}'


class BackendMisconfigured(DriverError):
    """The backends document, its secret or its certificate is wrong; the message names the key."""

    template = 'The backend {backend} is misconfigured: {reason}'


class ProviderNotFound(DriverError):
    """An object that must exist on the backend is not there (only verbs that need it raise this)."""

    template = 'The storage backend {backend} has no {object}.'


class VolumeIsBusy(DriverError):
    template = 'Volume {id} is busy on its backend: {reason}'


class SnapshotIsBusy(DriverError):
    template = 'Snapshot {id} is busy on its backend: {reason}'


class VolumeMigrationFailed(DriverError):
    """The move cannot be done; the volume stays as and where it is."""

    template = 'Volume migration failed: {reason}'


class NotSupported(DriverError):
    template = 'The storage backend {backend} does not support {operation}: {reason}'


class BackupError(CinderlessError):
    template = 'The backup failed: {reason}'


class RepositoryError(BackupError):
    """The repository (S3, a folder) refused, failed, or lacks an object."""

    template = 'The backup repository failed at {key}: {reason}'


class ObjectExists(RepositoryError):
    """A put that must not overwrite found the key taken: another worker was first."""

    template = 'The backup repository already holds {key}.'


class ObjectMissing(RepositoryError):
    template = 'The backup repository lacks {key}.'


class IntegrityError(BackupError):
    """What was read is not what was written; nothing of it was written to a volume."""

    template = 'The backup is damaged at {key}: {reason}'


class UnsupportedFormat(BackupError):
    """A backup of a later release, which this one cannot read."""


class BackupCanceled(BackupError):
    template = 'The backup {id} was cancelled.'


class KeyUnavailable(BackupError):
    """The key that wraps a backup's data key does not open it, or is out of reach."""

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
    """No portal can be reached, or the session was lost and could not be had again."""


class DeviceTimeout(DeviceError):
    template = 'The device {device} did not answer in {seconds} s: {reason}'


class ProtocolError(DeviceError):
    """The target broke the iSCSI protocol; the session is closed."""


class CheckCondition(DeviceError):
    """The device answered a SCSI command with an error; sense data is in the message."""


class DeviceFull(CheckCondition):
    """A write failed because the pool behind the device has no space left."""

    template = 'The device {device} takes no more data: its pool is full. Free space in the pool, or add some.'


class InvalidRange(DeviceError):
    """The caller asked for bytes beyond the device's end, or not in whole blocks; nothing was sent to the device."""
