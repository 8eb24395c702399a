"""Microversions of the block storage API: what each one added, and how a version is written and compared.

A version is a pair of integers. Routes and fields name the version they came with; nothing else depends on one.
Source: Cinder 29's REST API version history, 3.0 (Mitaka) to 3.71 (2024.1 and later).
"""

from __future__ import annotations

import re

from chalicelib.errors import InvalidAPIVersionString

Version = tuple[int, int]

FACTS = {
    '3.0': 'the v2 API under its new number; the default of a request without a version',
    '3.1': 'upload to image takes visibility and protected',
    '3.2': 'the bootable filter rejects values that are not booleans',
    '3.3': 'user messages',
    '3.4': 'volumes can be filtered by glance_metadata',
    '3.5': 'messages can be paged, sorted and filtered',
    '3.6': 'a consistency group may be given an empty name',
    '3.7': 'clusters; services show theirs',
    '3.8': 'manageable_volumes and manageable_snapshots',
    '3.9': 'backups can be renamed',
    '3.10': 'volumes can be filtered by group_id',
    '3.11': 'group types and their specs',
    '3.12': 'the summary of all volumes',
    '3.13': 'generic groups; volumes show group_id',
    '3.14': 'group snapshots; groups made from a source',
    '3.15': 'volume metadata has an ETag and respects If-Match',
    '3.16': 'migrate and manage take a cluster',
    '3.17': 'manageable lists take a cluster',
    '3.18': 'administrators see the project of a backup',
    '3.19': 'reset_status of group snapshots',
    '3.20': 'reset_status of groups',
    '3.21': 'administrators see provider_id',
    '3.22': 'snapshots can be filtered by metadata',
    '3.23': 'delete of a volume takes force',
    '3.24': 'the clean-up of workers',
    '3.25': 'groups list their volumes',
    '3.26': 'fail-over and freeze by cluster',
    '3.27': 'attachments',
    '3.28': 'pools can be filtered',
    '3.29': 'group snapshots can be filtered, sorted and paged',
    '3.30': 'snapshots can be sorted by name',
    '3.31': 'the operator names the filters; unknown ones are rejected',
    '3.32': 'log levels of services',
    '3.33': 'resource_filters lists the filters',
    '3.34': 'filters by a part of a value (name~)',
    '3.35': 'pools can be filtered by volume type',
    '3.36': 'the summary collects metadata',
    '3.37': 'backups can be sorted by name',
    '3.38': 'replication of groups',
    '3.39': "administrators may read another project's limits",
    '3.40': 'revert of a volume to its latest snapshot',
    '3.41': 'snapshots show user_id',
    '3.42': 'volumes in use can be extended',
    '3.43': 'backups have metadata',
    '3.44': 'completion of an attachment',
    '3.45': 'lists count all matching records (with_count)',
    '3.46': "volumes can be made from Nova's images of size zero",
    '3.47': 'volumes can be made from a backup',
    '3.48': 'volumes show shared_targets and service_uuid',
    '3.49': 'services show the state of their backend',
    '3.50': 'the volume type permits multiattach',
    '3.51': 'a backup can be made in another availability zone',
    '3.52': 'types can be filtered by extra_specs',
    '3.53': 'create and update of a volume reject unknown members',
    '3.54': 'an attachment takes a mode',
    '3.55': 'transfers may leave the snapshots out',
    '3.56': 'administrators see the user of a backup',
    '3.57': 'transfers show the source and the destination project',
    '3.58': 'administrators see the project of a group',
    '3.59': 'transfers can be paged and sorted',
    '3.60': 'volumes can be filtered by times',
    '3.61': 'administrators see the cluster of a volume',
    '3.62': 'default types of projects',
    '3.63': 'volumes show volume_type_id',
    '3.64': 'volumes and backups show encryption_key_id',
    '3.65': 'volumes and snapshots show consumes_quota',
    '3.66': 'snapshots of volumes in use need no force',
    '3.67': 'the project id in the path is optional (it is at any version)',
    '3.68': 'a volume can be reimaged',
    '3.69': 'shared_targets may be null',
    '3.70': 'encrypted volumes can be transferred',
    '3.71': 'Nova reports when it has extended a volume in use',
}

#: When the newest version came, as version discovery shows it.
UPDATED = '2023-08-31T00:00:00Z'

_FORM = re.compile(r'([1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})')


def parse(text: str) -> Version:
    """``'3.50'`` -> (3, 50). Raises InvalidAPIVersionString for anything that is not two plain numbers and a dot."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidAPIVersionString(version=text)
    return int(match[1]), int(match[2])


def text(version: Version) -> str:
    """(3, 50) -> ``'3.50'``."""
    return f'{version[0]}.{version[1]}'


MINIMUM: Version = (3, 0)
MAXIMUM: Version = (3, len(FACTS) - 1)
