"""User messages: Cinder's codes of what was tried and of how it failed.

An event id is ``VOLUME_<resource type>_<action>_<detail>``; the text is the action's and the detail's (Cinder's
message_field.py), here followed by what the service knows of the cause.
"""

from __future__ import annotations

import enum

#: Seconds that a message is kept (Cinder's message_ttl).
TTL = 30 * 24 * 3600


class Action(enum.StrEnum):
    """What was tried."""

    SCHEDULE_ALLOCATE_VOLUME = '001'
    ATTACH_VOLUME = '002'
    COPY_VOLUME_TO_IMAGE = '003'
    UPDATE_ATTACHMENT = '004'
    COPY_IMAGE_TO_VOLUME = '005'
    UNMANAGE_VOLUME = '006'
    EXTEND_VOLUME = '007'
    CREATE_VOLUME_FROM_BACKEND = '008'
    SNAPSHOT_CREATE = '009'
    SNAPSHOT_DELETE = '010'
    SNAPSHOT_UPDATE = '011'
    SNAPSHOT_METADATA_UPDATE = '012'
    BACKUP_CREATE = '013'
    BACKUP_DELETE = '014'
    BACKUP_RESTORE = '015'
    REIMAGE_VOLUME = '016'
    #: Not in Cinder, which writes no message when a volume cannot be removed.
    VOLUME_DELETE = '101'
    #: Not in Cinder, which writes no message for these either.
    BACKUP_SCHEDULE_RUN = '102'
    VOLUME_REVERT = '111'
    VOLUME_RETYPE = '112'
    VOLUME_MIGRATE = '113'
    VOLUME_MANAGE = '114'
    SNAPSHOT_MANAGE = '115'
    SNAPSHOT_UNMANAGE = '116'
    #: Nor of groups.
    GROUP_CREATE = '131'
    GROUP_DELETE = '132'
    GROUP_SNAPSHOT_CREATE = '133'
    GROUP_SNAPSHOT_DELETE = '134'
    GROUP_REPLICATE = '135'


ACTION_TEXTS = {
    Action.SCHEDULE_ALLOCATE_VOLUME: 'schedule allocate volume',
    Action.ATTACH_VOLUME: 'attach volume',
    Action.COPY_VOLUME_TO_IMAGE: 'copy volume to image',
    Action.UPDATE_ATTACHMENT: 'update attachment',
    Action.COPY_IMAGE_TO_VOLUME: 'copy image to volume',
    Action.UNMANAGE_VOLUME: 'unmanage volume',
    Action.EXTEND_VOLUME: 'extend volume',
    Action.CREATE_VOLUME_FROM_BACKEND: 'create volume from backend storage',
    Action.SNAPSHOT_CREATE: 'create snapshot',
    Action.SNAPSHOT_DELETE: 'delete snapshot',
    Action.SNAPSHOT_UPDATE: 'update snapshot',
    Action.SNAPSHOT_METADATA_UPDATE: 'update snapshot metadata',
    Action.BACKUP_CREATE: 'create backup',
    Action.BACKUP_DELETE: 'delete backup',
    Action.BACKUP_RESTORE: 'restore backup',
    Action.REIMAGE_VOLUME: 'reimage volume',
    Action.VOLUME_DELETE: 'delete volume',
    Action.BACKUP_SCHEDULE_RUN: 'run backup schedule',
    Action.VOLUME_REVERT: 'revert volume to snapshot',
    Action.VOLUME_RETYPE: 'change volume type',
    Action.VOLUME_MIGRATE: 'migrate volume',
    Action.VOLUME_MANAGE: 'manage existing volume',
    Action.SNAPSHOT_MANAGE: 'manage existing snapshot',
    Action.SNAPSHOT_UNMANAGE: 'unmanage snapshot',
    Action.GROUP_CREATE: 'create group',
    Action.GROUP_DELETE: 'delete group',
    Action.GROUP_SNAPSHOT_CREATE: 'create group snapshot',
    Action.GROUP_SNAPSHOT_DELETE: 'delete group snapshot',
    Action.GROUP_REPLICATE: 'replicate group',
}


class Detail(enum.StrEnum):
    """How it failed."""

    UNKNOWN_ERROR = '001'
    DRIVER_NOT_INITIALIZED = '002'
    NO_BACKEND_AVAILABLE = '003'
    FAILED_TO_UPLOAD_VOLUME = '004'
    VOLUME_ATTACH_MODE_INVALID = '005'
    QUOTA_EXCEED = '006'
    NOT_ENOUGH_SPACE_FOR_IMAGE = '007'
    UNMANAGE_ENC_NOT_SUPPORTED = '008'
    NOTIFY_COMPUTE_SERVICE_FAILED = '009'
    DRIVER_FAILED_EXTEND = '010'
    SIGNATURE_VERIFICATION_FAILED = '011'
    DRIVER_FAILED_CREATE = '012'
    SNAPSHOT_CREATE_ERROR = '013'
    SNAPSHOT_UPDATE_METADATA_FAILED = '014'
    SNAPSHOT_IS_BUSY = '015'
    SNAPSHOT_DELETE_ERROR = '016'
    BACKUP_INVALID_STATE = '017'
    BACKUP_SERVICE_DOWN = '018'
    BACKUP_CREATE_DEVICE_ERROR = '019'
    BACKUP_CREATE_DRIVER_ERROR = '020'
    ATTACH_ERROR = '021'
    DETACH_ERROR = '022'
    BACKUP_CREATE_CLEANUP_ERROR = '023'
    BACKUP_SCHEDULE_ERROR = '024'
    BACKUP_DELETE_DRIVER_ERROR = '025'
    BACKUP_RESTORE_ERROR = '026'
    VOLUME_INVALID_STATE = '027'
    REIMAGE_VOLUME_FAILED = '028'
    IMAGE_FORMAT_UNACCEPTABLE = '029'
    INCREMENTAL_BACKUP_FORCES_FULL_BACKUP = '030'
    #: Not in Cinder, which sets a busy volume back to available without a message.
    VOLUME_IS_BUSY = '101'
    VOLUME_DELETE_ERROR = '102'
    BACKUP_SCHEDULE_RUN_ERROR = '103'
    VOLUME_REVERT_ERROR = '111'
    VOLUME_MOVE_ERROR = '112'
    VOLUME_REVERT_REFUSED = '115'
    VOLUME_REVERT_POSTPONED = '116'
    BACKUP_NOT_RESTORED = '117'
    MANAGE_ERROR = '113'
    UNMANAGE_ERROR = '114'


DETAIL_TEXTS = {
    Detail.UNKNOWN_ERROR: 'An unknown error occurred.',
    Detail.DRIVER_NOT_INITIALIZED: 'Driver is not initialized at present.',
    Detail.NO_BACKEND_AVAILABLE: 'Could not find any available weighted backend.',
    Detail.FAILED_TO_UPLOAD_VOLUME: 'Failed to upload volume to image at backend.',
    Detail.VOLUME_ATTACH_MODE_INVALID: "Volume's attach mode is invalid.",
    Detail.QUOTA_EXCEED: 'Not enough quota resource for operation.',
    Detail.NOT_ENOUGH_SPACE_FOR_IMAGE: 'Image used for creating volume exceeds available space.',
    Detail.UNMANAGE_ENC_NOT_SUPPORTED: 'Unmanaging encrypted volumes is not supported.',
    Detail.NOTIFY_COMPUTE_SERVICE_FAILED: 'Compute service failed to extend volume.',
    Detail.DRIVER_FAILED_EXTEND: 'Volume Driver failed to extend volume.',
    Detail.SIGNATURE_VERIFICATION_FAILED: 'Image signature verification failed.',
    Detail.DRIVER_FAILED_CREATE: 'Driver failed to create the volume.',
    Detail.SNAPSHOT_CREATE_ERROR: 'Snapshot failed to create.',
    Detail.SNAPSHOT_UPDATE_METADATA_FAILED: 'Volume snapshot update metadata failed.',
    Detail.SNAPSHOT_IS_BUSY: 'Snapshot is busy.',
    Detail.SNAPSHOT_DELETE_ERROR: 'Snapshot failed to delete.',
    Detail.BACKUP_INVALID_STATE: 'Backup status is invalid.',
    Detail.BACKUP_SERVICE_DOWN: 'Backup service is down.',
    Detail.BACKUP_CREATE_DEVICE_ERROR: 'Failed to get backup device from the volume service.',
    Detail.BACKUP_CREATE_DRIVER_ERROR: 'Backup driver failed to create backup.',
    Detail.ATTACH_ERROR: 'Failed to attach volume.',
    Detail.DETACH_ERROR: 'Failed to detach volume.',
    Detail.BACKUP_CREATE_CLEANUP_ERROR: 'Cleanup of temporary volume/snapshot failed.',
    Detail.BACKUP_SCHEDULE_ERROR: 'Backup failed to schedule. Service not found for creating backup.',
    Detail.BACKUP_DELETE_DRIVER_ERROR: 'Backup driver failed to delete backup.',
    Detail.BACKUP_RESTORE_ERROR: 'Backup driver failed to restore backup.',
    Detail.VOLUME_INVALID_STATE: 'Volume status is invalid.',
    Detail.REIMAGE_VOLUME_FAILED: 'Compute service failed to reimage volume.',
    Detail.IMAGE_FORMAT_UNACCEPTABLE: (
        'The image disk format must be the same as the volume format for the volume type you are requesting.'
    ),
    Detail.INCREMENTAL_BACKUP_FORCES_FULL_BACKUP: 'Incremental backup not possible, forcing full backup.',
    Detail.VOLUME_IS_BUSY: 'Volume is busy.',
    Detail.VOLUME_DELETE_ERROR: 'Volume failed to delete.',
    Detail.BACKUP_SCHEDULE_RUN_ERROR: 'The schedule did not do what it was made for.',
    Detail.VOLUME_REVERT_ERROR: (
        'Volume failed to revert; its data is not usable. Its snapshot is: create a volume from it.'
    ),
    Detail.VOLUME_REVERT_REFUSED: 'Volume was not reverted and is unchanged; it can be reverted later.',
    Detail.VOLUME_REVERT_POSTPONED: 'Volume is not reverted yet.',
    Detail.BACKUP_NOT_RESTORED: 'Backup was not restored; the volume is unchanged.',
    Detail.VOLUME_MOVE_ERROR: 'Volume stays as and where it was.',
    Detail.MANAGE_ERROR: 'Failed to bring the existing object under management.',
    Detail.UNMANAGE_ERROR: 'Failed to unmanage the object.',
}


#: Name of an error -> its detail, which replaces the caller's.
DETAIL_BY_ERROR = {
    'BackendMisconfigured': Detail.DRIVER_NOT_INITIALIZED,
    'NoValidBackend': Detail.NO_BACKEND_AVAILABLE,
    'InvalidAttachmentMode': Detail.VOLUME_ATTACH_MODE_INVALID,
    'SnapshotLimitExceeded': Detail.QUOTA_EXCEED,
    'BackupLimitExceeded': Detail.QUOTA_EXCEED,
    'SnapshotIsBusy': Detail.SNAPSHOT_IS_BUSY,
    'VolumeIsBusy': Detail.VOLUME_IS_BUSY,
    'ImageTooBig': Detail.NOT_ENOUGH_SPACE_FOR_IMAGE,
}

#: A record's resource -> Cinder's resource type of a message.
RESOURCE_TYPES = {'volume': 'VOLUME', 'snapshot': 'VOLUME_SNAPSHOT', 'backup': 'VOLUME_BACKUP'}
