"""The EBS direct APIs: blocks of snapshots, read and written."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from local.ebs import tags
from local.ebs.blocks import BLOCK, Disk
from local.ebs.cloud import Cloud, Refused, Snapshot, Tags, new_id

Parameters = Mapping[str, Any]

#: Entries of one page, at least and at most.
MIN_PAGE, MAX_PAGE = 100, 10_000

#: Seconds that a block's token and a page's token are good for.
BLOCK_TOKEN, PAGE_TOKEN = 7 * 24 * 3600, 3600

#: Snapshots that an account may be writing at once.
MAX_OPEN = 100

GIB = 1024**3


def _invalid(reason: str, message: str) -> Refused:
    return Refused('ValidationException', message, Reason=reason)


def _snapshot(cloud: Cloud, id: str) -> Snapshot:
    snapshot = cloud.snapshots.get(id)
    if snapshot is None:
        message = f"The snapshot '{id}' does not exist."
        raise Refused('ResourceNotFoundException', message, 404, Reason='SNAPSHOT_NOT_FOUND')
    return snapshot


def _readable(cloud: Cloud, id: str) -> Snapshot:
    snapshot = _snapshot(cloud, id)
    if snapshot.state(cloud.now()) != 'completed':
        raise _invalid('INVALID_SNAPSHOT_ID', f"The snapshot '{id}' is not completed.")
    return snapshot


def _writable(cloud: Cloud, id: str) -> Snapshot:
    snapshot = _snapshot(cloud, id)
    if cloud.now() < snapshot.visible_at:
        raise Refused(
            'ResourceNotFoundException', f"The snapshot '{id}' does not exist.", 404, Reason='SNAPSHOT_NOT_FOUND'
        )
    if not snapshot.open or snapshot.state(cloud.now()) != 'pending':
        raise _invalid('INVALID_SNAPSHOT_ID', f"The snapshot '{id}' is not pending.")
    return snapshot


def list_blocks(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    snapshot = _readable(cloud, parameters['SnapshotId'])
    indexes, more = _page(cloud, snapshot.disk.written(), parameters, snapshot.id)
    blocks = [{'BlockIndex': index, 'BlockToken': _token(cloud, snapshot.id, index)} for index in indexes]
    return {'Blocks': blocks, **_about(cloud, snapshot), **more}


def list_changed(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """Blocks that differ between two snapshots; without a first one, all that were written."""
    second = _readable(cloud, parameters['SecondSnapshotId'])
    first = _readable(cloud, parameters['FirstSnapshotId']) if 'FirstSnapshotId' in parameters else None
    if first and first.volume_id != second.volume_id:
        raise _invalid('UNRELATED_SNAPSHOTS', 'The snapshots are of two volumes.')
    changed = second.disk.changed(first.disk) if first else second.disk.written()
    indexes, more = _page(cloud, changed, parameters, second.id)
    blocks = [
        {
            'BlockIndex': index,
            **({'FirstBlockToken': _token(cloud, first.id, index)} if first and first.disk.block(index) else {}),
            **({'SecondBlockToken': _token(cloud, second.id, index)} if second.disk.block(index) else {}),
        }
        for index in indexes
    ]
    return {'ChangedBlocks': blocks, **_about(cloud, second), **more}


def _page(
    cloud: Cloud, indexes: Sequence[int], parameters: Parameters, id: str
) -> tuple[Sequence[int], dict[str, str]]:
    size = int(parameters.get('MaxResults', MAX_PAGE))
    if not MIN_PAGE <= size <= MAX_PAGE:
        raise _invalid('INVALID_PARAMETER_VALUE', f'MaxResults is {size}: give {MIN_PAGE} to {MAX_PAGE}.')
    start = int(parameters.get('StartingBlockIndex', 0))
    if 'NextToken' in parameters:
        start = _opened(cloud, parameters['NextToken'], id, 'INVALID_PAGE_TOKEN')
    if cloud.empty_pages:
        cloud.empty_pages -= 1
        return [], {'NextToken': _sealed(cloud, id, start, PAGE_TOKEN)}
    found = [index for index in indexes if index >= start]
    more = {'NextToken': _sealed(cloud, id, found[size], PAGE_TOKEN)} if len(found) > size else {}
    return found[:size], more


def _about(cloud: Cloud, snapshot: Snapshot) -> dict[str, Any]:
    return {'VolumeSize': snapshot.size, 'BlockSize': BLOCK, 'ExpiryTime': cloud.now() + BLOCK_TOKEN}


def _token(cloud: Cloud, id: str, index: int) -> str:
    return _sealed(cloud, id, index, BLOCK_TOKEN)


def _sealed(cloud: Cloud, id: str, index: int, lifetime: float) -> str:
    text = f'{id}/{index}/{int(cloud.now() + lifetime)}'
    seal = hmac.new(cloud.secret, text.encode(), 'sha256').hexdigest()[:16]
    return base64.b64encode(f'{text}/{seal}'.encode()).decode()


def _opened(cloud: Cloud, token: str, id: str, reason: str) -> int:
    """The index that a token is for. Raises Refused for one that is forged, of another snapshot, or expired."""
    try:
        text, _, seal = base64.b64decode(token).decode().rpartition('/')
        of, index, until = text.split('/')
        good = hmac.compare_digest(seal, hmac.new(cloud.secret, text.encode(), 'sha256').hexdigest()[:16])
    except ValueError:
        good, of, index, until = False, '', '0', '0'
    if not good or of != id or int(until) < cloud.now():
        raise _invalid(reason, 'The token is not valid, or not any more.')
    return int(index)


def get_block(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    snapshot, index = _readable(cloud, parameters['SnapshotId']), int(parameters['BlockIndex'])
    if _opened(cloud, parameters['BlockToken'], snapshot.id, 'INVALID_BLOCK_TOKEN') != index:
        raise _invalid('INVALID_BLOCK_TOKEN', f'The token is not that of block {index}.')
    data = snapshot.disk.block(index)
    if data is None:
        raise Refused('ResourceNotFoundException', f'Block {index} is not there.', 404, Reason='BLOCK_NOT_FOUND')
    return {'DataLength': BLOCK, 'BlockData': data, 'Checksum': digest(data), 'ChecksumAlgorithm': 'SHA256'}


def digest(data: bytes) -> str:
    """A block's checksum as the API writes it."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def start(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """Open a new snapshot for writing; with a parent it begins with the parent's blocks."""
    return _started(cloud, cloud.once(parameters, lambda: _start(cloud, parameters)))


def _start(cloud: Cloud, parameters: Parameters) -> str:
    if 'ParentSnapshotId' in parameters and 'Encrypted' in parameters:
        raise _invalid('INVALID_PARAMETER_VALUE', 'Encrypted cannot be given together with ParentSnapshotId.')
    if sum(one.open and one.state(cloud.now()) == 'pending' for one in cloud.snapshots.values()) >= MAX_OPEN:
        message = f'At most {MAX_OPEN} snapshots can be pending.'
        raise Refused('ConcurrentLimitExceededException', message)
    parent = _readable(cloud, parameters['ParentSnapshotId']) if 'ParentSnapshotId' in parameters else None
    size, minutes = int(parameters['VolumeSize']), int(parameters.get('Timeout', 60))
    if not 1 <= size <= 65536 or not 10 <= minutes <= 4320:
        raise _invalid('INVALID_PARAMETER_VALUE', f'VolumeSize is {size}, Timeout is {minutes}.')
    made = _opened_snapshot(cloud, parameters, parent, size, cloud.now() + minutes * 60)
    cloud.snapshots[made.id] = made
    return made.id


def _opened_snapshot(
    cloud: Cloud, parameters: Parameters, parent: Snapshot | None, size: int, until: float
) -> Snapshot:
    key = parameters.get('KmsKeyArn') or ('alias/aws/ebs' if parameters.get('Encrypted') else None)
    if key not in (None, 'alias/aws/ebs') and not cloud.keys(str(key)):
        raise _invalid('INVALID_DEPENDENCY_REQUEST', f'The key {key} cannot be used.')
    return Snapshot(
        id=new_id('snap'),
        size=size,
        disk=parent.disk.copy() if parent else Disk(cloud.file),
        tags=Tags({tag['Key']: tag.get('Value', '') for tag in parameters.get('Tags', [])}),
        started_at=cloud.now(),
        visible_at=cloud.now() + cloud.timing.visible,
        completed_at=None,
        description=str(parameters.get('Description', '')),
        key=key or (parent.key if parent else None),
        open=True,
        expires_at=until,
    )


def _started(cloud: Cloud, id: str) -> dict[str, Any]:
    """A repeated token is answered from the snapshot as it is now."""
    snapshot = _snapshot(cloud, id)
    return {
        'SnapshotId': id,
        'Status': snapshot.state(cloud.now()),
        'VolumeSize': snapshot.size,
        'BlockSize': BLOCK,
        'StartTime': snapshot.started_at,
        'Tags': tags.shown(snapshot.tags.now),
    }


def put_block(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    snapshot = _writable(cloud, parameters['SnapshotId'])
    index, data = int(parameters['BlockIndex']), bytes(parameters['BlockData'])
    if not 0 <= index < snapshot.size * GIB // BLOCK:
        raise _invalid('INVALID_PARAMETER_VALUE', f'Block {index} is beyond the volume.')
    if len(data) != BLOCK or parameters.get('DataLength') != BLOCK:
        raise _invalid('INVALID_CONTENT_LENGTH', f'A block has {BLOCK} bytes, not {len(data)}.')
    if parameters.get('ChecksumAlgorithm') != 'SHA256' or parameters.get('Checksum') != digest(data):
        raise _invalid('INVALID_BLOCK_CHECKSUM', f'The checksum of block {index} is not that of its data.')
    snapshot.disk.put(index, data)
    snapshot.touched.add(index)
    return {'Checksum': digest(data), 'ChecksumAlgorithm': 'SHA256'}


def complete(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """Complete a snapshot. A wrong count of its written blocks sets it to error permanently."""
    snapshot = _writable(cloud, parameters['SnapshotId'])
    count = int(parameters['ChangedBlocksCount'])
    if count != len(snapshot.touched):
        snapshot.failed = True
        raise _invalid('INVALID_PARAMETER_VALUE', f'{len(snapshot.touched)} blocks were written, not {count}.')
    snapshot.open, snapshot.completed_at = False, cloud.now() + cloud.timing.snapshot
    return {'Status': snapshot.state(cloud.now())}
