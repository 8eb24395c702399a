"""The type of a project's volumes that name none, where an administrator chose one (3.62)."""

from __future__ import annotations

from chalicelib.context import Context
from chalicelib.models import DefaultType, base
from chalicelib.operations import volume_types


def get(context: Context, project_id: str) -> DefaultType:
    """Return a project's own default; raises VolumeTypeProjectDefaultNotFound."""
    return DefaultType.find(base.GLOBAL, project_id)


def list_(context: Context) -> list[DefaultType]:
    """Return the defaults of all projects, by project."""
    return list(base.every(DefaultType, base.GLOBAL))


def set_(context: Context, project_id: str, id_or_name: str) -> DefaultType:
    """Set a project's default; raises VolumeTypeNotFound. The last of concurrent requests wins."""
    return volume_types.again(lambda: _set(context, project_id, id_or_name))


def _set(context: Context, project_id: str, id_or_name: str) -> DefaultType:
    volume_type = volume_types.find(context, id_or_name)
    chosen = DefaultType(base.GLOBAL, project_id, created_at=base.now(), volume_type_id=volume_type.id)
    with base.Transaction() as transaction:
        volume_types.add_check_to(transaction, volume_type)
        whatever = DefaultType.id.exists() | DefaultType.id.does_not_exist()
        transaction.put(chosen, whatever)
    return chosen


def unset(context: Context, project_id: str) -> None:
    """Give a project the default of all again; raises VolumeTypeProjectDefaultNotFound."""
    with base.Transaction() as transaction:
        transaction.delete(
            DefaultType(base.GLOBAL, project_id), DefaultType.id.exists(), lambda: DefaultType.not_found(id=project_id)
        )
