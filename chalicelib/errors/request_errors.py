"""Requests that are invalid, unauthorized, conflicting, or beyond a limit (400, 401, 403, 405 to 429)."""

from __future__ import annotations

from chalicelib.errors.base import CinderlessError


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


class MethodNotAllowed(CinderlessError):
    code = 405
    template = 'The method is not allowed.'


class NotAcceptable(CinderlessError):
    """The Accept header does not allow the answer's type."""

    code = 406
    template = 'The answer is {content_type}: send that as the first type of the Accept header.'


class VersionNotAcceptable(CinderlessError):
    code = 406
    template = 'Version {version} is not supported by the API. Minimum is {minimum} and maximum is {maximum}.'


class InvalidQoSSpecs(Invalid):
    template = 'Invalid qos specs: {reason}'


class UnsupportedMediaType(CinderlessError):
    code = 415
    template = 'The content type {content_type} is not supported: send application/json.'


class GroupTypeInUse(Invalid):
    template = 'Group type {id} has groups: delete them first.'


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


class VolumeTypeEncryptionExists(Invalid):
    template = 'Volume type encryption for type {type_id} already exists.'


class ConflictNovaUsingAttachment(Conflict):
    template = 'Detach volume from instance {instance_id} using the Compute API'


class IdempotencyKeyInUse(Conflict):
    """``seconds``: when to repeat the request."""

    template = (
        'The first request with this Idempotency-Key is still being served. Repeat the request in {seconds} seconds '
        'to get its answer.'
    )


class IdempotencyKeyReused(CinderlessError):
    code = 422
    template = (
        'This Idempotency-Key was used for a request with another body, query or microversion. Use a new key for a '
        'new request.'
    )


class RequestTooLarge(CinderlessError):
    code = 413
    template = 'The request body has {size} bytes: send at most {limit}.'


class RecordTooLarge(CinderlessError):
    """DynamoDB refuses an item above its limit: the bounds of rules/bounds.py may add up to more."""

    code = 413
    template = 'The resource would hold more than can be stored. Send less.'


class OverQuota(CinderlessError):
    """A quota is exceeded: 413 with ``Retry-After: 0`` and the class name before the message, as in Cinder."""

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


class RateLimited(CinderlessError):
    """The project's rate limit is reached (operations/rate_limits.py). 413, as Cinder's rate limits."""

    code = 413
    template = (
        'The project may send {limit} requests a minute, and {burst} at once: repeat the request in {seconds} seconds.'
    )


class TooManyGuesses(CinderlessError):
    """Passwords or secrets were guessed too often (identity/guesses.py)."""

    code = 429
    template = 'Too many failed attempts to authenticate: try again in {seconds} seconds.'
