"""Extensions: clients read their aliases to detect features. Every implemented feature has its row."""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.rules.policies import ANY_AUTHENTICATED

extensions = Resource('extensions')

#: Alias -> (Cinder's name, its date, description).
EXTENSIONS = {
    'OS-SCH-HNT': ('SchedulerHints', '2013-04-18', 'Hints to the scheduler in the create of a volume.'),
    'backups': ('Backups', '2012-12-12', 'Backups of volumes.'),
    'cgsnapshots': ('Cgsnapshots', '2014-08-18', 'Snapshots of consistency groups.'),
    'consistencygroups': ('Consistencygroups', '2014-08-18', 'Consistency groups.'),
    'os-admin-actions': ('AdminActions', '2012-08-25', 'Actions of administrators: reset status, force delete.'),
    'os-availability-zone': ('AvailabilityZones', '2013-06-27', 'The availability zones.'),
    'os-extended-services': ('ExtendedServices', '2014-01-10', 'Why a service is disabled.'),
    'os-extended-snapshot-attributes': (
        'ExtendedSnapshotAttributes', '2012-06-19', 'Project and progress of a snapshot.',
    ),
    'capabilities': ('Capabilities', '2015-08-31', 'What a backend reports.'),
    'os-hosts': ('Hosts', '2011-06-29', 'Use of a backend, by project.'),
    'os-quota-class-sets': ('QuotaClasses', '2012-03-12', 'Default quotas.'),
    'os-quota-sets': ('Quotas', '2011-08-08', 'Quotas of a project.'),
    'os-services': ('Services', '2012-10-28', 'The services and their state.'),
    'os-snapshot-actions': ('SnapshotActions', '2013-07-16', 'Progress of snapshots that servers take themselves.'),
    'os-snapshot-manage': ('SnapshotManage', '2014-12-31', 'Manage existing snapshots of a backend.'),
    'os-snapshot-unmanage': ('SnapshotUnmanage', '2014-12-31', 'Unmanage snapshots, which stay on their backend.'),
    'os-types-extra-specs': ('TypesExtraSpecs', '2011-08-24', 'Extra specs of volume types.'),
    'os-types-manage': ('TypesManage', '2011-08-24', 'Create, change and delete volume types.'),
    'os-used-limits': ('UsedLimits', '2013-10-03', 'Use of the limits.'),
    'os-vol-host-attr': ('VolumeHostAttribute', '2011-11-03', 'The pool of a volume, for administrators.'),
    'os-vol-image-meta': ('VolumeImageMetadata', '2012-12-07', 'Properties of the image on a volume.'),
    'os-vol-mig-status-attr': ('VolumeMigStatusAttribute', '2013-08-08', 'The migration of a volume.'),
    'os-vol-tenant-attr': ('VolumeTenantAttribute', '2011-11-03', 'The project of a volume.'),
    'os-volume-actions': ('VolumeActions', '2012-05-31', 'Actions on volumes: attach, detach, extend.'),
    'os-volume-encryption-metadata': ('VolumeEncryptionMetadata', '2013-07-10', 'How a volume is encrypted.'),
    'os-volume-manage': ('VolumeManage', '2014-02-10', 'Manage existing volumes of a backend.'),
    'os-volume-transfer': ('VolumeTransfer', '2013-05-29', 'Transfer of volumes between projects.'),
    'os-volume-unmanage': ('VolumeUnmanage', '2012-05-31', 'Unmanage volumes, which stay on their backend.'),
    'encryption': ('VolumeTypeEncryption', '2013-07-01', 'How the volumes of a type are encrypted.'),
    'os-volume-type-access': ('VolumeTypeAccess', '2014-06-26', 'Projects that may use a private volume type.'),
    'qos-specs': ('Qos_specs_manage', '2013-08-02', 'QoS specs of volume types.'),
    'scheduler-stats': ('Scheduler_stats', '2014-09-07', 'The pools of the scheduler.'),
}  # fmt: skip


def _shown(alias: str) -> dict[str, Any]:
    name, day, description = EXTENSIONS[alias]
    return {
        'name': name,
        'alias': alias,
        'description': description,
        'updated': f'{day}T00:00:00+00:00',
        'links': [],
    }


@extensions.get('', policy=ANY_AUTHENTICATED)
def index(request: Request) -> dict[str, Any]:
    return {'extensions': [_shown(alias) for alias in EXTENSIONS]}


@extensions.get('/{id}', policy=ANY_AUTHENTICATED)
def show(request: Request, id: str) -> dict[str, Any]:
    if id not in EXTENSIONS:
        raise errors.NotFound
    return {'extension': _shown(id)}
