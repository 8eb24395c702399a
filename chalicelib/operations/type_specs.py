"""Extra specs of volume types: changed while the type is not in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import VolumeType
from chalicelib.operations import common, volume_types
from chalicelib.rules import extra_specs as rules


def set_(context: Context, type_id: str, specs: Mapping[str, str]) -> dict[str, str]:
    """Add or change extra specs of a type that is not in use; return all."""

    def merged(known: dict[str, Any]) -> dict[str, Any]:
        rules.check_cacheable({**known, **specs})
        return {**known, **specs}

    return _change(context, type_id, merged)


def delete(context: Context, type_id: str, key: str) -> None:
    """Remove one extra spec of a type that is not in use."""
    missing = errors.VolumeTypeExtraSpecsNotFound(id=type_id, key=key)
    _change(context, type_id, lambda known: common.without(key, missing, known))


def _change(context: Context, type_id: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    changed: dict[str, Any] = {}

    def actions(volume_type: VolumeType) -> list[Any]:
        changed.clear()
        changed.update(change(dict(volume_type.extra_specs)))
        return [VolumeType.extra_specs.set(changed)]

    volume_types.change_unused(context, type_id, 'Volume Type is currently in use.', actions)
    return changed
