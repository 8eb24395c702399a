"""The records. ``TABLES`` lists what the template creates; tables are described nowhere else.

A record's module is imported when the record is first named, so that a cold start loads only the classes that it uses:
``from chalicelib.models import Volume`` imports ``volume`` alone (docs/decisions/0034-imports.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.models import base
    from chalicelib.models.backup import Backup
    from chalicelib.models.backup_schedule import BackupSchedule
    from chalicelib.models.group import Group, GroupSnapshot
    from chalicelib.models.group_type import GroupType
    from chalicelib.models.idempotency_key import IdempotencyKey
    from chalicelib.models.lease import Lease
    from chalicelib.models.message import Message
    from chalicelib.models.operation import Operation
    from chalicelib.models.pool import Pool, Service
    from chalicelib.models.qos_specs import DefaultType, QosSpecs
    from chalicelib.models.quota import Quota
    from chalicelib.models.revocation import Revocation
    from chalicelib.models.secret import Secret
    from chalicelib.models.snapshot import Snapshot
    from chalicelib.models.transfer import Transfer
    from chalicelib.models.volume import Attachment, Volume
    from chalicelib.models.volume_type import Name, VolumeType

    TABLES: tuple[type[base.Record], ...]

#: Record -> its module.
_MODULES: Mapping[str, str] = {
    'Volume': 'volume',
    'Attachment': 'volume',
    'Snapshot': 'snapshot',
    'Backup': 'backup',
    'BackupSchedule': 'backup_schedule',
    'VolumeType': 'volume_type',
    'Name': 'volume_type',
    'QosSpecs': 'qos_specs',
    'DefaultType': 'qos_specs',
    'Pool': 'pool',
    'Service': 'pool',
    'Quota': 'quota',
    'Message': 'message',
    'Lease': 'lease',
    'Revocation': 'revocation',
    'Transfer': 'transfer',
    'Secret': 'secret',
    'GroupType': 'group_type',
    'Group': 'group',
    'GroupSnapshot': 'group',
    'IdempotencyKey': 'idempotency_key',
    'Operation': 'operation',
}

__all__ = [
    'TABLES',
    'Attachment',
    'Backup',
    'BackupSchedule',
    'DefaultType',
    'Group',
    'GroupSnapshot',
    'GroupType',
    'IdempotencyKey',
    'Lease',
    'Message',
    'Name',
    'Operation',
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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return a record's class, or the list of all; later accesses find it as an attribute of this module."""
        if name == 'TABLES':
            found = tuple(__getattr__(record) for record in _MODULES)
        elif name in _MODULES:
            found = getattr(importlib.import_module(f'{__name__}.{_MODULES[name]}'), name)
        else:
            raise AttributeError(f'{__name__} does not have a record {name}')
        globals()[name] = found
        return found
