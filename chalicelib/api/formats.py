"""Named formats of strings in bodies, and Cinder's messages for strings that do not match."""

from __future__ import annotations

import base64
import binascii
import functools
import re
import uuid
from collections.abc import Callable, Mapping, Sequence

from chalicelib.errors import Invalid, InvalidInput, InvalidParameterValue
from chalicelib.rules import states

#: Characters of a name or description, and bytes of a value of image metadata (MySQL's TEXT).
MAX_NAME, MAX_TEXT = 255, 65535

#: Bytes of a backup's container.
MAX_CONTAINER = 512

#: Parts of a container that would put it among the objects of another: in ``a/deleted/<volume>`` the container ``a``
#: keeps the tombstones of a volume's backups. The first segments of backup/layout.py; a test compares them.
OBJECTS = frozenset({'backups', 'running', 'deleted', 'volume-keys', 'shards', 'partial', 'packs'})

#: The statuses that an administrator may set for a volume, in Cinder's order.
VOLUME_STATUSES = (
    'creating', 'available', 'deleting', 'error', 'error_deleting', 'error_managing', 'managing', 'attaching',
    'in-use', 'detaching', 'maintenance', 'restoring-backup', 'error_restoring', 'reserved', 'awaiting-transfer',
    'backing-up', 'error_backing-up', 'error_extending', 'downloading', 'uploading', 'retyping', 'extending',
)  # fmt: skip

#: Format -> (subject, allowed values, case-insensitive); in Cinder's spelling.
STATUSES: Mapping[str, tuple[str, Sequence[str]]] = {
    'volume_status': ('Volume', VOLUME_STATUSES),
    'attach_status': ('Volume attach', tuple(states.ATTACHMENT_STATUSES)),
    'migration_status': ('Volume migration', ('migrating', 'error', 'success', 'completing', 'none', 'starting')),
    'snapshot_status': ('Snapshot', tuple(states.SNAPSHOT_STATUSES)),
    'group_status': ('Group', tuple(states.GROUP_SNAPSHOT_STATUSES)),
    'group_snapshot_status': ('Group snapshot', tuple(states.GROUP_SNAPSHOT_STATUSES)),
    'backup_status': ('Backup', ['available', 'error']),
}

_PERCENTAGE = re.compile(r'([0-9]{1,2}|100)%')


def is_uuid(text: str) -> bool:
    """Accept a UUID in any form that oslo accepts: with or without dashes, braces or ``urn:uuid:``."""
    try:
        canonical = str(uuid.UUID(text)).replace('-', '')
    except ValueError:
        return False
    return canonical == text.replace('urn:', '').replace('uuid:', '').strip('{}').replace('-', '').lower()


def is_base64(text: str) -> bool:
    """Accept what Python decodes as base64, which ignores foreign characters, like Cinder's format."""
    try:
        base64.b64decode(text.encode())
    except binascii.Error:
        return False
    return True


def is_short(text: str) -> bool:
    """At most 255 characters, not counting blanks around them."""
    return len(text.strip()) <= MAX_NAME


def is_text(text: str) -> bool:
    return len(text.encode()) <= MAX_TEXT


def is_container(text: str) -> bool:
    """Fits into a key of S3 (1,024 bytes) with the project and the object's own name, and has one meaning in a URL."""
    parts = text.split('/') if text else []
    unclear = any(part in ('', '.', '..') for part in parts) or not OBJECTS.isdisjoint(parts[1:])
    return len(text.encode()) <= MAX_CONTAINER and not unclear


def is_percentage(text: str) -> bool:
    return not text or _PERCENTAGE.fullmatch(text) is not None


def is_key_size(text: str) -> bool:
    """Digits within the range of the database's integer."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= 0x7FFFFFFF


def _is_status(format: str, text: str) -> bool:
    return not text or text.lower() in STATUSES[format][1]


#: Format -> whether a string matches.
FORMATS: Mapping[str, Callable[[str], bool]] = {
    'uuid': is_uuid,
    'base64': is_base64,
    'short_name': is_short,
    'short_description': is_short,
    'type_name': lambda text: bool(text.strip()),
    'reason': lambda text: bool(text.strip()),
    'text': is_text,
    'container': is_container,
    'percentage': is_percentage,
    'key_size': is_key_size,
    **{format: functools.partial(_is_status, format) for format in STATUSES},
}


def _too_long(member: str, text: str) -> Invalid:
    return InvalidInput(reason=f'{member} has {len(text.strip())} characters, more than {MAX_NAME}.')


def _wrong_status(format: str, text: str) -> Invalid:
    what, valid = STATUSES[format]
    return InvalidParameterValue(err=f'{what} status: {text} is invalid, valid statuses are: {valid}.')


#: Format -> the error for a string that does not match, where Cinder has its own.
REFUSALS: Mapping[str, Callable[[str], Invalid]] = {
    'short_name': functools.partial(_too_long, 'name'),
    'short_description': functools.partial(_too_long, 'description'),
    'type_name': lambda _: InvalidInput(reason='name can not be empty or blank: give it at least one character.'),
    'reason': lambda _: Invalid('Disabled reason contains invalid characters or is too long'),
    'text': lambda text: InvalidInput(reason=f'Value has {len(text.encode())} bytes, more than {MAX_TEXT}.'),
    'container': lambda text: InvalidInput(
        reason=f'container has {len(text.encode())} bytes, or a part between slashes that is empty, "." or "..", or a '
        f'part after the first one that is {", ".join(sorted(OBJECTS))}: at most {MAX_CONTAINER} bytes of other names '
        'are allowed.'
    ),
    'percentage': lambda _: InvalidInput(reason='progress must be an integer percentage'),
    'key_size': lambda _: InvalidInput(reason='key_size must be an integer of bits, such as 256'),
    **{format: functools.partial(_wrong_status, format) for format in STATUSES},
}
