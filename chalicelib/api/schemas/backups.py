"""Bodies of backups and their actions."""

from __future__ import annotations

from chalicelib.api import parameters as p
from chalicelib.api.schema import since
from chalicelib.operations.backups import STORAGE_CLASSES

CREATE = p.only(
    'backup',
    p.members(
        {
            'volume_id': p.UUID,
            'container': p.CONTAINER,
            'description': p.PRINTABLE_TEXT,
            'incremental': p.BOOLEAN,
            'force': p.BOOLEAN,
            'name': p.SHORT_TEXT,
            'snapshot_id': p.OPTIONAL_UUID,
            'metadata': since('3.43', p.nullable(p.metadata(of='backup'))),
            'availability_zone': since('3.51', p.SHORT_TEXT),
            'cinderless:storage_class': {'type': 'string', 'enum': list(STORAGE_CLASSES)},
            'cinderless:locked_until': {'type': 'string', 'maxLength': 32},
        },
        required=('volume_id',),
    ),
)

UPDATE = p.only(
    'backup',
    p.nullable(
        p.members(
            {'name': p.SHORT_TEXT, 'description': p.PRINTABLE_TEXT, 'metadata': since('3.43', p.metadata(of='backup'))}
        )
    ),
)

RESTORE = p.only('restore', p.nullable(p.members({'name': p.SHORT_TEXT, 'volume_id': p.OPTIONAL_UUID})))

#: Characters of an exported record; this service's have less than a thousand.
MAX_URL = 65535

IMPORT_RECORD = p.only(
    'backup-record',
    p.members(
        {
            'backup_service': {'type': 'string', 'minLength': 0, 'maxLength': 255},
            'backup_url': {'type': 'string', 'minLength': 1, 'maxLength': MAX_URL, 'format': 'base64'},
        },
        required=('backup_service', 'backup_url'),
    ),
)

#: Percent of the blocks.
SAMPLE = {'type': 'integer', 'minimum': 1, 'maximum': 100}

SCRUB = p.nullable(p.members({'sample': SAMPLE}))

COPY = p.members(
    {'target': p.NAME_REQUIRED, 'name': p.SHORT_TEXT, 'description': p.PRINTABLE_TEXT}, required=('target',)
)

RESET_STATUS = p.members({'status': {'type': 'string', 'format': 'backup_status'}}, required=('status',))
