"""Statuses: each word that a record may have as a status, what it means, and the named sets that rules speak of.

What may follow what is in ``workflows.py``. Source: Cinder 29's fields.py and the checks of its API and managers.
"""

from __future__ import annotations

#: As ``done`` or ``failed`` of a workflow: the status before the action.
PREVIOUS = '<previous>'

#: As ``done``: the record is removed.
REMOVED = '<removed>'

# The words. What each means for a resource is in the vocabularies below.
CREATING = 'creating'
DOWNLOADING = 'downloading'
AVAILABLE = 'available'
RESERVED = 'reserved'
ATTACHING = 'attaching'
IN_USE = 'in-use'
DETACHING = 'detaching'
MAINTENANCE = 'maintenance'
DELETING = 'deleting'
EXTENDING = 'extending'
BACKING_UP = 'backing-up'
RESTORING_BACKUP = 'restoring-backup'
UPLOADING = 'uploading'
RETYPING = 'retyping'
REVERTING = 'reverting'
MANAGING = 'managing'
UNMANAGING = 'unmanaging'
AWAITING_TRANSFER = 'awaiting-transfer'
ERROR = 'error'
ERROR_DELETING = 'error_deleting'
ERROR_EXTENDING = 'error_extending'
ERROR_RESTORING = 'error_restoring'
ERROR_BACKING_UP = 'error_backing-up'
ERROR_MANAGING = 'error_managing'
ERROR_MANAGING_DELETING = 'error_managing_deleting'
ERROR_UNMANAGING = 'error_unmanaging'
RESTORING = 'restoring'
UPDATING = 'updating'
DELETED = 'deleted'
ATTACHED = 'attached'
DETACHED = 'detached'
ERROR_ATTACHING = 'error_attaching'
ERROR_DETACHING = 'error_detaching'
STARTING = 'starting'
MIGRATING = 'migrating'
COMPLETING = 'completing'
SUCCESS = 'success'
DISABLED = 'disabled'
ENABLED = 'enabled'
FAILED_OVER = 'failed-over'
FAILOVER_ERROR = 'failover-error'

VOLUME_STATUSES = {
    CREATING: 'accepted; being scheduled and provisioned',
    DOWNLOADING: 'an image is being written to it',
    AVAILABLE: 'exists and is attached to nothing',
    RESERVED: 'an attachment was made without a connector; the volume waits for its host',
    ATTACHING: 'a host is about to attach it',
    IN_USE: 'attached to at least one host',
    DETACHING: 'a host is about to detach it',
    MAINTENANCE: 'being migrated; it cannot be attached',
    DELETING: 'being removed; for up to a day while its backend does not answer',
    EXTENDING: 'being grown; for up to a day while its backend does not answer',
    BACKING_UP: 'its backup is being started; a backup copies from a snapshot afterwards',
    RESTORING_BACKUP: 'a backup is being written over it',
    UPLOADING: 'being copied to an image',
    RETYPING: 'its type is being changed',
    REVERTING: 'being set back to its latest snapshot; for up to a day while its backend does not answer',
    MANAGING: 'an existing backend object is being brought under management (shown as creating)',
    UNMANAGING: 'being released, and its data stays on the backend; for up to a day while its backend does not answer',
    AWAITING_TRANSFER: 'offered to another project',
    ERROR: 'could not be created or used; a user message has the reason; can be deleted',
    ERROR_DELETING: 'could not be removed; an administrator may force it',
    ERROR_EXTENDING: 'could not be grown; can be deleted',
    ERROR_RESTORING: 'a restore failed and the data is not usable; can be restored again after a reset, or deleted',
    ERROR_BACKING_UP: 'kept as previous_status after a failed backup',
    ERROR_MANAGING: 'could not be brought under management (shown as error)',
    ERROR_MANAGING_DELETING: 'a failed management is being dropped (shown as deleting)',
    ERROR_UNMANAGING: 'could not be released',
}

#: Statuses under which another word is shown to users.
SHOWN_AS = {MANAGING: CREATING, ERROR_MANAGING: ERROR, ERROR_MANAGING_DELETING: DELETING}

#: In Cinder's order: statuses from which a volume may be deleted.
DELETABLE = (AVAILABLE, ERROR, ERROR_RESTORING, ERROR_EXTENDING, ERROR_MANAGING)

#: Statuses of a volume that may be attached (Cinder's attachment_create); of a multiattach volume, in Cinder's order.
ATTACHABLE = frozenset({AVAILABLE, DOWNLOADING})
ATTACHABLE_MULTIATTACH = (AVAILABLE, IN_USE, DOWNLOADING)

#: Statuses in which an instance may get a second attachment of a volume that it has (Nova moves it to another host).
ATTACHABLE_AGAIN = frozenset({IN_USE, RESERVED})

#: Statuses that os-attach accepts; a multiattach volume may also be in use.
OS_ATTACHABLE = frozenset({AVAILABLE, ATTACHING, RESERVED})

#: Statuses that last until a server calls again.
AWAITING_SERVER = (ATTACHING, DETACHING)

#: Volume statuses in which no export is made: the data is being made, replaced or removed, or is about to have
#: another owner. Cinder refuses ``maintenance`` alone, and leaves exports behind that outlive the right to the data.
NOT_EXPORTABLE = frozenset({
    CREATING, MANAGING, DOWNLOADING, RESTORING_BACKUP, REVERTING, RETYPING, MAINTENANCE, AWAITING_TRANSFER, DELETING,
    UNMANAGING, ERROR_MANAGING, ERROR_MANAGING_DELETING,
})  # fmt: skip

#: Those of them in which an attached volume keeps its data where it is: its hosts may connect again.
EXPORTABLE_ATTACHED = frozenset({RETYPING})

#: Statuses in which a volume's metadata cannot be changed.
FIXED_METADATA = frozenset({MAINTENANCE, UPLOADING})

#: Statuses of a volume that may be backed up or cloned; a snapshot of one in use is crash-consistent.
READABLE = (AVAILABLE, IN_USE)

#: Statuses of volumes that a group snapshot may freeze, in Cinder's order.
FREEZABLE = (ATTACHING, AVAILABLE, BACKING_UP, DETACHING, IN_USE, RESERVED, UPLOADING)

#: Statuses that a volume does not return to when an image is on it: it had no data.
WITHOUT_DATA = (CREATING, ERROR)

#: Statuses in which a volume or snapshot has an object of its record's size.
SETTLED = frozenset({AVAILABLE, IN_USE, RESERVED, ATTACHING, DETACHING, AWAITING_TRANSFER})

#: Statuses in which the progress of a copy is shown.
WITH_PROGRESS = frozenset({CREATING, RESTORING_BACKUP})

#: Statuses in which a snapshot of the volume cannot be brought under management.
NOT_ADOPTING = (CREATING, MANAGING, DELETING, UNMANAGING, RETYPING, ERROR_MANAGING, ERROR_MANAGING_DELETING)

MIGRATION_STATUSES = {
    STARTING: 'the migration is accepted',
    MIGRATING: 'data is being copied to the target',
    COMPLETING: 'a word of Cinder; volume and target exchange their places in one write here',
    SUCCESS: 'the last migration or retype moved the volume',
    ERROR: 'the last migration or retype failed; the volume is where it was',
    DELETING: 'the old data, which is being removed',
}

#: Migration statuses of a move that is under way, and of a volume that is not being migrated.
MOVING = (STARTING, MIGRATING, COMPLETING)
NOT_MIGRATING = frozenset({None, DELETING, ERROR, SUCCESS})

SNAPSHOT_STATUSES = {
    CREATING: 'accepted; being taken',
    AVAILABLE: 'frozen data that volumes and backups can be made from',
    BACKING_UP: 'being read by a backup',
    RESTORING: 'a volume is being set back to it',
    UPDATING: 'its volume changes type',
    UNMANAGING: 'being released; the data stays on the backend',
    DELETING: 'being removed',
    DELETED: 'removed (only ever seen in transit)',
    ERROR: 'could not be taken; can be deleted',
    ERROR_DELETING: 'could not be removed; an administrator may force it',
}

#: Status of a snapshot -> what a server's own snapshot agent may make of it (os-update_snapshot_status).
REPORTABLE = {CREATING: (CREATING, AVAILABLE, ERROR), DELETING: (DELETING, ERROR_DELETING)}

GROUP_STATUSES = {
    CREATING: 'accepted; a backend is being chosen, or its volumes are being copied',
    AVAILABLE: 'exists; volumes may join and leave',
    UPDATING: 'its volumes are being changed (never seen here: one write changes them)',
    IN_USE: 'not used; an old word of Cinder',
    DELETING: 'being removed, with its volumes if it has any',
    DELETED: 'removed (only ever seen in transit)',
    ERROR: 'could not be made or removed; a user message has the reason; can be deleted',
    ERROR_DELETING: 'not used; a removal that failed leaves error',
}

#: Statuses of a group that a volume may be made in.
JOINABLE = frozenset({AVAILABLE, CREATING})

#: Statuses of volumes that may join a group, and that may leave it.
JOINING = (AVAILABLE, IN_USE)
LEAVING = (*JOINING, ERROR, ERROR_DELETING)

#: Statuses of volumes whose work for their group is not done.
GROUP_WORK = frozenset({CREATING, DOWNLOADING, DELETING})

#: What Cinder shows of the replication of a group, or of a backend.
REPLICATION_STATUSES = {
    DISABLED: 'not replicated',
    ENABLED: 'replicated',
    FAILED_OVER: 'the other side is in use',
    ERROR: 'replication could not be enabled or disabled',
    FAILOVER_ERROR: 'the group could not fail over',
}

GROUP_SNAPSHOT_STATUSES = {
    CREATING: 'accepted; its snapshots are being taken',
    AVAILABLE: 'all of its snapshots are available',
    UPDATING: 'not used; a word of Cinder',
    DELETING: 'being removed with its snapshots',
    DELETED: 'removed (only ever seen in transit)',
    ERROR: 'could not be taken; none of its snapshots is left on the backend; can be deleted',
    ERROR_DELETING: 'could not be removed; can be deleted after a reset of its status',
}

#: Statuses of a group that cannot be snapshotted (Cinder's).
UNSETTLED = frozenset({CREATING, UPDATING})

BACKUP_STATUSES = {
    CREATING: 'accepted; data is being copied to the repository',
    AVAILABLE: 'complete and restorable',
    RESTORING: 'being written to a volume',
    DELETING: 'being removed',
    DELETED: 'removed (only ever seen in transit)',
    ERROR: 'could not be made; fail_reason has the reason; can be deleted',
    ERROR_DELETING: 'could not be removed; an administrator may force it',
}

#: What an administrator may reset a backup to.
BACKUP_RESETS = (AVAILABLE, ERROR)

ATTACHMENT_STATUSES = {
    RESERVED: 'made without a connector; holds the volume for a host',
    ATTACHING: 'has a connector and connection information; the host is connecting',
    ATTACHED: 'the host is connected',
    DETACHING: 'the host is detaching it',
    DETACHED: 'gone (only ever seen in transit)',
    DELETED: 'gone (only ever seen in transit)',
    ERROR_ATTACHING: 'the host could not connect',
    ERROR_DETACHING: 'the path could not be taken away',
}

#: What a volume's status becomes by the attachments that are left (Cinder's finish_detach): the alphabetically first
#: attach_status without an error decides.
STATUS_BY_ATTACHMENTS = {
    None: AVAILABLE, ATTACHED: IN_USE, ATTACHING: ATTACHING, DETACHING: DETACHING, RESERVED: RESERVED,
}  # fmt: skip


def status_after_detach(remaining: list[str]) -> str:
    """Return the volume's status when attachments with these attach_statuses are left."""
    live = sorted(status for status in remaining if not is_error(status))
    return STATUS_BY_ATTACHMENTS[live[0] if live else None]


def is_error(status: str) -> bool:
    """Return whether a status is ``error`` or one of its kinds."""
    return status.startswith(ERROR)
