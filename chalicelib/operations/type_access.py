"""Access of projects to private volume types."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import VolumeType, base
from chalicelib.operations import volume_types


def project_access(context: Context, type_id: str) -> list[str]:
    """Return the projects that may use a private type."""
    volume_type = volume_types.get(context, type_id)
    if volume_type.is_public:
        raise errors.VolumeTypeAccessNotFound('Access list not available for public volume types.')
    return sorted(volume_type.projects)


def add_project_access(context: Context, type_id: str, project_id: str) -> None:
    """Let a project use a private type; raises VolumeTypeAccessExists."""

    def added(known: list[str]) -> list[str]:
        if project_id in known:
            raise errors.VolumeTypeAccessExists(id=type_id, project_id=project_id)
        return [*known, project_id]

    volume_types.again(lambda: _change_access(context, type_id, added))


def remove_project_access(context: Context, type_id: str, project_id: str) -> None:
    """Take a private type from a project; raises VolumeTypeAccessNotFound."""

    def removed(known: list[str]) -> list[str]:
        if project_id not in known:
            raise errors.VolumeTypeAccessNotFound(id=type_id, project_id=project_id)
        return [project for project in known if project != project_id]

    volume_types.again(lambda: _change_access(context, type_id, removed))


def _change_access(context: Context, type_id: str, change: Callable[[list[str]], list[str]]) -> None:
    volume_type = _private(context, type_id)
    volume_types.commit_change(
        base.Transaction(), volume_type, [VolumeType.projects.set(change(list(volume_type.projects)))]
    )


def _private(context: Context, type_id: str) -> VolumeType:
    volume_type = volume_types.get(context, type_id)
    if volume_type.is_public:
        raise errors.InvalidVolumeType(reason='Type access modification is not applicable to public volume type.')
    return volume_type
