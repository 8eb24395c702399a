"""Whether work has begun to change a volume: what never began leaves the record as it was.

A driver that refuses a verb has changed nothing (its contract). Where a worker writes the data itself, the record says
so before the first byte.
"""

from __future__ import annotations

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.models import Volume, base

#: Errors by which a driver refuses before it changes anything.
REFUSALS = (errors.BackendFull, errors.NotSupported, errors.VolumeIsBusy, errors.SnapshotIsBusy)

#: Member of a volume's ``operation``.
_MARK = 'writing'


def is_refusal(error: str) -> bool:
    """Return whether the error of this name says that the backend has changed nothing."""
    kind = getattr(errors, error, None)
    return isinstance(kind, type) and issubclass(kind, REFUSALS)


def note(volume: Volume, held: Condition) -> None:
    """Record that the volume's data is about to be changed, while the request holds it. Raises StateChanged."""
    if not has(volume):
        marked = {**volume.operation_facts(), _MARK: True}
        base.update(volume, [Volume.operation.set(marked), *base.touched(Volume)], held)
        volume.operation = marked


def has(volume: Volume) -> bool:
    """Return whether ``note`` was called for the work under way."""
    return bool(volume.operation_facts().get(_MARK))
