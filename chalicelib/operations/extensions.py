"""Extensions that were given up although their backend carried them out, and those that a backend lost again.

Data is never cut off: the smaller side follows the larger one. A larger object makes record and quota follow; a smaller
one grows to the record's size. Both are the work of extend_volume.
"""

from __future__ import annotations

import functools

from chalicelib.context import new_request_id
from chalicelib.models import Volume, base
from chalicelib.operations import common, quotas
from chalicelib.rules import states, workflows

ROW = workflows.VOLUME['finish_extend']


def finish(volume: Volume, found_gb: int) -> None:
    """Begin what makes a volume and its object of ``found_gb`` GiB one size; the reconciler starts it.

    Raises StateChanged when the volume was changed since it was read, OverQuota.
    """
    growth = max(found_gb - int(volume.size), 0) if volume.consumes_quota else 0
    deltas = {'gigabytes': growth} if growth else {}
    add_writes_to = functools.partial(_add_extension_to, volume, max(found_gb, int(volume.size)), growth)
    quotas.commit(volume.project_id, deltas, add_writes_to, type_id=volume.volume_type_id, reserved=deltas)


def _add_extension_to(volume: Volume, new_size: int, growth: int, transaction: base.Transaction) -> None:
    operation = common.operation(ROW, new_size=new_size, found=volume.status)
    previous = _status_by_attachments(volume) if volume.status == ROW.failed else None
    actions = base.begin_actions(Volume, ROW, new_request_id(), operation, previous)
    unchanged = base.is_allowed(Volume, ROW) & (Volume.revision == volume.revision) & (Volume.reserved_gb == 0)
    transaction.update(volume, [*actions, Volume.reserved_gb.set(growth)], unchanged)


def _status_by_attachments(volume: Volume) -> str:
    return states.status_after_detach([link['attach_status'] for link in volume.attachments.values()])
