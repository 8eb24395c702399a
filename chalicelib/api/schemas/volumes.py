"""Bodies of volumes and their actions."""

from __future__ import annotations

from chalicelib.api import parameters as p

_OTHER_VOLUMES = {'oneOf': [p.UUID, {'type': 'array', 'items': p.UUID, 'uniqueItems': True}]}

HINTS = p.bounded(
    'scheduler_hints',
    p.nullable(
        p.members(
            {
                'local_to_instance': p.OPTIONAL_UUID,
                'different_host': _OTHER_VOLUMES,
                'same_host': _OTHER_VOLUMES,
                'query': {'type': ['string', 'object']},
            },
            strict=False,
        )
    ),
)

_WORD: p.Schema = {'type': 'string', 'maxLength': p.LONGEST}

_UPDATE = {
    'name': p.NAME,
    'description': p.DESCRIPTION,
    'display_name': p.NAME,
    'display_description': p.DESCRIPTION,
    'metadata': p.metadata(),
}

_CREATE = {
    **_UPDATE,
    'volume_type': p.SHORT_TEXT,
    'metadata': p.nullable(p.metadata()),
    'snapshot_id': p.OPTIONAL_UUID,
    'source_volid': p.OPTIONAL_UUID,
    'consistencygroup_id': p.OPTIONAL_UUID,
    'size': {**p.SIZE, 'type': ['integer', 'string', 'null']},
    'availability_zone': {'type': ['string', 'null'], 'minLength': 1, 'maxLength': 255},
    'multiattach': {'type': ['boolean', 'string', 'null'], 'enum': [*p.BOOLEAN['enum'], None]},
    'image_id': p.SHORT_TEXT,
    'imageRef': p.SHORT_TEXT,
    # Cinder accepts these two at any version, but validates them only from 3.13 and 3.47 on.
    'group_id': p.SHORT_TEXT,
    'backup_id': p.OPTIONAL_UUID,
}


def create(*, strict: bool) -> p.Schema:
    """``strict`` from 3.53 on; before, unknown members are ignored."""
    return p.only('volume', p.members(_CREATE, strict=strict), **{'OS-SCH-HNT:scheduler_hints': HINTS})


UPDATE_ANY = p.only('volume', p.members(_UPDATE))
#: From 3.53 on at least one change is required.
UPDATE = p.only('volume', p.members(_UPDATE, **p.any_of(*_UPDATE)))

METADATA = p.only('metadata', p.metadata())
META = p.only('meta', p.metadata(minProperties=1, maxProperties=1))

IMAGE_METADATA = p.members(
    {
        'metadata': p.bounded(
            'volume.volume_image_metadata', p.pairs(p.METADATA_KEY, {'type': 'string', 'format': 'text'})
        )
    },
    required=('metadata',),
)
IMAGE_METADATA_KEY = p.members({'key': p.NAME_REQUIRED}, required=('key',))

_CONNECTOR = p.bounded('attachment.connector', {'type': ['object', 'string', 'null']})

ATTACH = p.members(
    {
        'instance_uuid': p.UUID,
        'mountpoint': p.NAME_REQUIRED,
        'host_name': {'type': 'string', 'maxLength': 255},
        'mode': {'type': 'string', 'enum': ['rw', 'ro']},
    },
    required=('mountpoint',),
    **p.any_of('instance_uuid', 'host_name'),
)
DETACH = p.nullable(p.members({'attachment_id': p.OPTIONAL_UUID}))
EXTEND = p.members({'new_size': p.SIZE}, required=('new_size',))
INITIALIZE_CONNECTION = p.members({'connector': {**_CONNECTOR, 'type': ['object', 'string']}}, required=('connector',))
TERMINATE_CONNECTION = p.members({'connector': _CONNECTOR}, required=('connector',))
FORCE_DETACH = p.members({'connector': _CONNECTOR, 'attachment_id': p.SHORT_TEXT})
RETYPE = p.members(
    {'new_type': _WORD, 'migration_policy': {'type': ['string', 'null'], 'enum': ['on-demand', 'never']}},
    required=('new_type',),
)
_MIGRATE = {
    'host': {'type': 'string', 'maxLength': 255},
    'force_host_copy': p.BOOLEAN,
    'lock_volume': p.BOOLEAN,
}
MIGRATE = p.members(_MIGRATE, required=('host',))
MIGRATE_CLUSTER = p.members({**_MIGRATE, 'host': p.nullable(_MIGRATE['host']), 'cluster': p.SHORT_TEXT})
MIGRATE_COMPLETION = p.members(
    {'new_volume': p.UUID, 'error': {**_WORD, 'type': ['string', 'null', 'boolean']}}, required=('new_volume',)
)
EXTEND_COMPLETION = p.members({'error': {**_WORD, 'type': ['string', 'null', 'boolean']}})
REVERT = p.members({'snapshot_id': p.SHORT_TEXT}, strict=False)
SET_BOOTABLE = p.members({'bootable': p.BOOLEAN}, required=('bootable',))
UPDATE_READONLY = p.members({'readonly': p.BOOLEAN}, required=('readonly',))

_UPLOAD = {
    'image_name': p.NAME_REQUIRED,
    'force': p.BOOLEAN,
    'disk_format': {'type': 'string', 'enum': ['raw', 'vmdk', 'vdi', 'qcow2', 'vhd', 'vhdx', 'ploop']},
    'container_format': p.PRINTABLE_TEXT,
}
UPLOAD_IMAGE = p.members(_UPLOAD, required=('image_name',))
#: From 3.1 on.
UPLOAD_IMAGE_SEEN_BY = p.members(
    {
        **_UPLOAD,
        'visibility': {'type': 'string', 'enum': ['community', 'public', 'private', 'shared']},
        'protected': p.BOOLEAN,
    },
    required=('image_name',),
)
REIMAGE = p.members({'image_id': p.UUID, 'reimage_reserved': p.BOOLEAN}, required=('image_id',))

RESET_STATUS = p.members(
    {
        'status': {'type': ['string', 'null'], 'format': 'volume_status'},
        'attach_status': {'type': ['string', 'null'], 'format': 'attach_status'},
        'migration_status': {'type': ['string', 'null'], 'format': 'migration_status'},
    }
)
