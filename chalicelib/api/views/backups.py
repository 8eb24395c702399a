"""The views of a backup."""

from __future__ import annotations

from chalicelib.api.view import View, attribute, field, links
from chalicelib.api.views.volumes import FIXED_KEY
from chalicelib.operations import backup_checks, progress

#: The view of the short list, create and update.
BRIEF = View(attribute('id'), attribute('name'), links('backups'))

DETAIL = View(
    attribute('id'),
    attribute('status'),
    attribute('size'),
    attribute('object_count'),
    attribute('availability_zone'),
    attribute('container'),
    attribute('created_at'),
    attribute('updated_at'),
    attribute('name'),
    attribute('description'),
    attribute('fail_reason'),
    attribute('volume_id'),
    links('backups'),
    field('is_incremental', lambda backup, request: backup.parent_id is not None),
    field('has_dependent_backups', lambda backup, request: backup.num_dependent_backups > 0),
    attribute('snapshot_id'),
    attribute('data_timestamp'),
    attribute('metadata', since='3.43'),
    attribute('encryption_key_id', since='3.64', when=lambda backup: backup.encryption_key_id not in (None, FIXED_KEY)),
    attribute(
        'os-backup-project-attr:project_id', 'project_id', since='3.18', policy='backup:backup_project_attribute'
    ),
    attribute('user_id', since='3.56', policy='backup:backup_project_attribute'),
    attribute('cinderless:storage_class', 'storage_class', when=lambda backup: backup.storage_class is not None),
    attribute('cinderless:locked_until', 'locked_until', when=lambda backup: backup.locked_until is not None),
    attribute('cinderless:copied_from', 'copied_from', when=lambda backup: backup.copied_from is not None),
    # Imported records could have these, but strict clients, which import records, refuse members that are not
    # Cinder's.
    attribute('cinderless:location', 'location', when=lambda backup: backup.copied_from is not None),
    field(
        'cinderless:progress',
        lambda backup, request: progress.shown(backup),
        when=lambda backup: progress.shown(backup) is not None,
        requested_by='progress',
    ),
    attribute('cinderless:method', 'method', when=lambda backup: backup.method is not None, requested_by='method'),
    attribute('cinderless:scrub', 'scrub', when=lambda backup: backup.scrub is not None),
    attribute('cinderless:drill', 'drill', when=lambda backup: backup.drill is not None),
    field(
        'cinderless:check',
        lambda backup, request: backup_checks.under_way(backup),
        when=lambda backup: backup_checks.under_way(backup) is not None,
    ),
)
