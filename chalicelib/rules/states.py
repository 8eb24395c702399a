"""Statuses and what may follow what. Every change of a status in the service is a row of this page.

Source: Cinder 29's fields.py and the compare-and-set calls of its API and managers (measured matrices).
A row says: the statuses an action may start from, the status while it runs, the status when it is done, the status
when it failed, seconds until the reconciler takes over, and the state machine that does the work.
"""

from __future__ import annotations

from typing import NamedTuple

#: As ``done`` or ``failed``: back to the status before the action.
PREVIOUS = '<previous>'

#: As ``done``: the record is removed.
REMOVED = '<removed>'


class Transition(NamedTuple):
    """One action on one resource. ``deadline`` in seconds; ``machine`` is a file of stepfunctions/."""

    allowed: frozenset[str]
    running: str
    done: str
    failed: str
    deadline: int
    machine: str = ''


def row(allowed: str, running: str, done: str, failed: str, deadline: int, machine: str = '') -> Transition:
    """A row with its statuses written as words in one string."""
    return Transition(frozenset(allowed.split()), running, done, failed, deadline, machine)


VOLUME_STATUSES = {
    'creating': 'accepted; being scheduled and provisioned',
    'downloading': 'an image is being written to it',
    'available': 'exists and is attached to nothing',
    'reserved': 'an attachment was made without a connector; the volume waits for its host',
    'attaching': 'a host is about to attach it',
    'in-use': 'attached to at least one host',
    'detaching': 'a host is about to let go of it',
    'maintenance': 'being migrated; nobody may attach it',
    'deleting': 'being removed; for up to a day while its backend does not answer',
    'extending': 'being grown; for up to a day while its backend does not answer',
    'backing-up': 'its backup is being started; a backup copies from a snapshot afterwards',
    'restoring-backup': 'a backup is being written over it',
    'uploading': 'being copied to an image',
    'retyping': 'its type is being changed',
    'reverting': 'being set back to its latest snapshot; for up to a day while its backend does not answer',
    'managing': 'an existing backend object is being brought under management (shown as creating)',
    'unmanaging': 'being let go of; the data stays on the backend',
    'awaiting-transfer': 'offered to another project',
    'error': 'could not be created or used; a user message says why; can be deleted',
    'error_deleting': 'could not be removed; an administrator may force it',
    'error_extending': 'could not be grown; can be deleted',
    'error_restoring': 'a restore failed and the data is not usable; can be restored again after a reset, or deleted',
    'error_backing-up': 'kept as previous_status after a failed backup',
    'error_managing': 'could not be brought under management (shown as error)',
    'error_managing_deleting': 'a failed management is being dropped (shown as deleting)',
    'error_unmanaging': 'could not be let go of',
}

#: Statuses under which another word is shown to users.
SHOWN_AS = {'managing': 'creating', 'error_managing': 'error', 'error_managing_deleting': 'deleting'}

VOLUME = {
    'create': row('', 'creating', 'available', 'error', 900, 'create_volume'),
    'delete': row(
        'available error error_restoring error_extending',
        'deleting', REMOVED, 'error_deleting', 900, 'delete_volume',
    ),
    'force_delete': row(
        ' '.join(VOLUME_STATUSES), 'deleting', REMOVED, 'error_deleting', 900, 'delete_volume',
    ),
    'extend': row('available', 'extending', 'available', 'error_extending', 900, 'extend_volume'),
    'extend_attached': row('in-use', 'extending', 'in-use', 'error_extending', 900, 'extend_volume'),
    # An extension that was given up while its backend carried it out, or a backend that lost it.
    'finish_extend': row(
        'available in-use error_extending', 'extending', PREVIOUS, 'error_extending', 900, 'extend_volume',
    ),
    'reserve': row('available', 'attaching', 'in-use', 'available', 3600),
    'reserve_multiattach': row('available in-use', 'attaching', 'in-use', PREVIOUS, 3600),
    'begin_detaching': row('in-use', 'detaching', 'available', 'in-use', 3600),
    'backup': row('available', 'backing-up', PREVIOUS, PREVIOUS, 900, 'backup_volume'),
    'backup_attached': row('available in-use', 'backing-up', PREVIOUS, PREVIOUS, 900, 'backup_volume'),
    'restore': row('available', 'restoring-backup', 'available', 'error_restoring', 3600, 'restore_backup'),
    # No work behind it: it lasts until somebody accepts the offer, or the donor withdraws it.
    'transfer': row('available', 'awaiting-transfer', 'available', 'available', 0),
    'revert': row('available', 'reverting', 'available', 'error', 3600, 'revert_to_snapshot'),
    'retype': row('available in-use', 'retyping', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate': row('available', 'available', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate_attached': row('in-use', 'in-use', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    'migrate_locked': row('available', 'maintenance', PREVIOUS, PREVIOUS, 3600, 'move_volume'),
    # The other half of a move: a volume that exists only while another one's data is copied to it. A drill's, too.
    'receive': row('', 'creating', REMOVED, REMOVED, 3600),
    'manage': row('', 'managing', 'available', 'error_managing', 900, 'manage_volume'),
    'unmanage': row(
        'available error error_restoring error_extending', 'unmanaging', REMOVED, 'error_unmanaging', 900,
        'unmanage_volume',
    ),
    # What was never brought under management is let go of, whether it is to be removed or unmanaged.
    'drop_managed': row('error_managing', 'error_managing_deleting', REMOVED, 'error_managing', 900, 'unmanage_volume'),
    'download': row('', 'downloading', 'available', 'error', 3600, 'download_image'),
    'reimage': row('available error', 'downloading', 'available', 'error', 3600, 'download_image'),
    'reimage_reserved': row('available error reserved', 'downloading', PREVIOUS, 'error', 3600, 'download_image'),
    'upload': row('available', 'uploading', PREVIOUS, PREVIOUS, 3600, 'upload_image'),
}  # fmt: skip

#: Volume statuses in which an attachment may be created (Cinder's attachment_create); multiattach adds in-use.
ATTACHABLE = frozenset({'available', 'downloading'})

#: Volume statuses in which no export is made: the data is being made, replaced or removed, or is about to have
#: another owner. Cinder refuses ``maintenance`` alone, and leaves exports behind that outlive the right to the data.
NOT_EXPORTABLE = frozenset({
    'creating', 'managing', 'downloading', 'restoring-backup', 'reverting', 'retyping', 'maintenance',
    'awaiting-transfer', 'deleting', 'unmanaging', 'error_managing', 'error_managing_deleting',
})  # fmt: skip

#: Those of them in which an attached volume keeps its data where it is: its hosts may connect again.
EXPORTABLE_ATTACHED = frozenset({'retyping'})

SNAPSHOT_STATUSES = {
    'creating': 'accepted; being taken',
    'available': 'frozen data that volumes and backups can be made from',
    'backing-up': 'being read by a backup',
    'restoring': 'a volume is being set back to it',
    'updating': 'its volume changes type',
    'unmanaging': 'being let go of; the data stays on the backend',
    'deleting': 'being removed',
    'deleted': 'removed (only ever seen in transit)',
    'error': 'could not be taken; can be deleted',
    'error_deleting': 'could not be removed; an administrator may force it',
}

SNAPSHOT = {
    'create': row('', 'creating', 'available', 'error', 900, 'create_snapshot'),
    'delete': row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot'),
    'force_delete': row(
        ' '.join(SNAPSHOT_STATUSES), 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot',
    ),
    # In a cascade: what an earlier one could not remove is tried again.
    'delete_with_volume': row(
        'available error error_deleting', 'deleting', REMOVED, 'error_deleting', 900, 'delete_snapshot',
    ),
    'backup': row('available', 'backing-up', 'available', 'available', 3600, 'backup_volume'),
    'restore': row('available', 'restoring', 'available', 'available', 3600, 'revert_to_snapshot'),
    'manage': row('', 'creating', 'available', 'error', 900, 'manage_snapshot'),
    'unmanage': row('available error', 'unmanaging', REMOVED, 'error', 900, 'unmanage_snapshot'),
}  # fmt: skip

#: What group snapshots do with their snapshots: driven by the group snapshot's machine, and by nobody else.
GROUPED_SNAPSHOT = {
    'create_in_group': row('', 'creating', 'available', 'error', 0),
    'delete_in_group': row('available error error_deleting', 'deleting', REMOVED, 'error_deleting', 0),
}

GROUP_STATUSES = {
    'creating': 'accepted; a backend is being chosen, or its volumes are being copied',
    'available': 'exists; volumes may join and leave',
    'updating': 'its volumes are being changed (never seen here: one write changes them)',
    'in-use': 'not used; an old word of Cinder',
    'deleting': 'being removed, with its volumes if it has any',
    'deleted': 'removed (only ever seen in transit)',
    'error': 'could not be made or removed; a user message says why; can be deleted',
    'error_deleting': 'not used; a removal that failed leaves error',
}

GROUP = {
    'create': row('', 'creating', 'available', 'error', 900, 'create_group'),
    # Ends when the last of its volumes is done; see operations/groups.py.
    'create_from_src': row('', 'creating', 'available', 'error', 900),
    'delete': row('available error', 'deleting', REMOVED, 'error', 900, 'delete_group'),
    'delete_with_volumes': row(' '.join(GROUP_STATUSES), 'deleting', REMOVED, 'error', 900, 'delete_group'),
}

#: Statuses of a group that a volume may be made in.
JOINABLE = frozenset({'available', 'creating'})

GROUP_SNAPSHOT_STATUSES = {
    'creating': 'accepted; its snapshots are being taken',
    'available': 'all of its snapshots are available',
    'updating': 'not used; a word of Cinder',
    'deleting': 'being removed with its snapshots',
    'deleted': 'removed (only ever seen in transit)',
    'error': 'could not be taken; none of its snapshots is left on the backend; can be deleted',
    'error_deleting': 'could not be removed; can be deleted after a reset of its status',
}

GROUP_SNAPSHOT = {
    'create': row('', 'creating', 'available', 'error', 900, 'create_group_snapshot'),
    'delete': row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_group_snapshot'),
}

BACKUP_STATUSES = {
    'creating': 'accepted; data is being copied to the repository',
    'available': 'complete and restorable',
    'restoring': 'being written to a volume',
    'deleting': 'being removed',
    'deleted': 'removed (only ever seen in transit)',
    'error': 'could not be made; fail_reason says why; can be deleted',
    'error_deleting': 'could not be removed; an administrator may force it',
}

BACKUP = {
    'create': row('', 'creating', 'available', 'error', 21600, 'backup_volume'),
    'import': row('', 'creating', 'available', 'error', 900, 'import_backup'),
    'copy': row('', 'creating', 'available', 'error', 21600, 'copy_backup'),
    'restore': row('available', 'restoring', 'available', 'available', 21600, 'restore_backup'),
    # Checks read only: the backup stays available, and whoever restores or removes it meanwhile ends them.
    'scrub': row('available', 'available', 'available', 'available', 21600, 'scrub_backup'),
    'drill': row('available', 'available', 'available', 'available', 21600, 'drill_backup'),
    'delete': row('available error', 'deleting', REMOVED, 'error_deleting', 900, 'delete_backup'),
    'force_delete': row(' '.join(BACKUP_STATUSES), 'deleting', REMOVED, 'error_deleting', 900, 'delete_backup'),
}

ATTACHMENT_STATUSES = {
    'reserved': 'made without a connector; holds the volume for a host',
    'attaching': 'has a connector and connection information; the host is connecting',
    'attached': 'the host said it is connected',
    'detaching': 'the host is letting go',
    'detached': 'gone (only ever seen in transit)',
    'deleted': 'gone (only ever seen in transit)',
    'error_attaching': 'the host could not connect',
    'error_detaching': 'the path could not be taken away',
}

#: What a volume's status becomes by the attachments that are left (Cinder's finish_detach): the alphabetically first
#: attach_status without an error decides.
STATUS_BY_ATTACHMENTS = {
    None: 'available', 'attached': 'in-use', 'attaching': 'attaching', 'detaching': 'detaching', 'reserved': 'reserved',
}  # fmt: skip

#: Migration statuses of a volume that is not being migrated.
NOT_MIGRATING = frozenset({None, 'deleting', 'error', 'success'})


def status_after_detach(remaining: list[str]) -> str:
    """The volume's status when attachments with these attach_statuses are left."""
    live = sorted(status for status in remaining if not status.startswith('error'))
    return STATUS_BY_ATTACHMENTS[live[0] if live else None]
