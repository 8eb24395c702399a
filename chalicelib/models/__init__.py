"""The records. ``TABLES`` is what the template creates; nothing else describes a table."""

from chalicelib.models.backup import Backup
from chalicelib.models.backup_schedule import BackupSchedule
from chalicelib.models.group import Group, GroupSnapshot
from chalicelib.models.group_type import GroupType
from chalicelib.models.lease import Lease
from chalicelib.models.message import Message
from chalicelib.models.pool import Pool, Service
from chalicelib.models.qos_specs import DefaultType, QosSpecs
from chalicelib.models.quota import Quota
from chalicelib.models.revocation import Revocation
from chalicelib.models.secret import Secret
from chalicelib.models.snapshot import Snapshot
from chalicelib.models.transfer import Transfer
from chalicelib.models.volume import Attachment, Volume
from chalicelib.models.volume_type import Name, VolumeType

TABLES = (
    Volume,
    Attachment,
    Snapshot,
    Backup,
    BackupSchedule,
    VolumeType,
    Name,
    QosSpecs,
    DefaultType,
    Pool,
    Service,
    Quota,
    Message,
    Lease,
    Revocation,
    Transfer,
    Secret,
    GroupType,
    Group,
    GroupSnapshot,
)

__all__ = [
    'TABLES',
    'Attachment',
    'Backup',
    'BackupSchedule',
    'DefaultType',
    'Group',
    'GroupSnapshot',
    'GroupType',
    'Lease',
    'Message',
    'Name',
    'Pool',
    'QosSpecs',
    'Quota',
    'Revocation',
    'Secret',
    'Service',
    'Snapshot',
    'Transfer',
    'Volume',
    'VolumeType',
]
