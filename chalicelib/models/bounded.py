"""The bounds of rules/bounds.py, applied to every write: a record with maximal values can still change and end.

Values beyond a bound raise AttributeTooLarge; texts written by the service are shortened. A map beyond its bound, from
before the bounds, may be reduced step by step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pynamodb.attributes import JSONAttribute, UnicodeAttribute
from pynamodb.expressions.operand import Path, Value
from pynamodb.expressions.update import Action, SetAction
from pynamodb.models import Model

from chalicelib import errors
from chalicelib.rules import bounds

if TYPE_CHECKING:
    from chalicelib.models.base import Record


def fit_record(record: Model) -> None:
    """Check all attributes of a record that is about to be written in full."""
    kinds = type(record).get_attributes()
    for name, value in list(record.attribute_values.items()):
        if value is None or not isinstance(kinds.get(name), UnicodeAttribute | JSONAttribute):
            continue
        fitting = _fitting(record, name, value)
        if fitting is not value:
            setattr(record, name, fitting)


def fit_actions(record: Record | Model, actions: Iterable[Action]) -> None:
    """Check the values that an update sets; the operands of shortened texts are changed in place."""
    for action in actions:
        found = _set_text(action)
        if found is None:
            continue
        name, operand = found
        attribute = type(record).get_attributes().get(name)
        text = operand.values[0]['S']
        if isinstance(attribute, JSONAttribute):
            _check_change(record, name, json.loads(text), text)
        elif attribute is not None:
            operand.values[0]['S'] = _fitting(record, name, text)


def _set_text(action: Action) -> tuple[str, Any] | None:
    """The attribute and the operand of an action that sets a whole text or JSON attribute, else None."""
    if not isinstance(action, SetAction):
        return None
    path, operand = action.values
    if not isinstance(path, Path) or len(path.path) != 1 or not isinstance(operand, Value):
        return None
    return (str(path.path[0]), operand) if 'S' in operand.values[0] else None


def _check_change(record: Record | Model, name: str, value: Any, text: str) -> None:
    try:
        bounds.check(_resource(record), name, value)
    except errors.AttributeTooLarge:
        before = record.attribute_values.get(name)
        if before is None or bounds.size_of(before) <= len(text):
            raise


def _fitting(record: Record | Model, name: str, value: Any) -> Any:
    """Return the value, shortened if the service writes it; raises AttributeTooLarge."""
    bound = bounds.of(_resource(record), name) or bounds.TEXT
    if isinstance(value, str) and len(value) * 4 <= bound.size:  # no character has more bytes
        return value
    if bound.cut and isinstance(value, str):
        return bounds.shortened(value, bound.size)
    bounds.check(_resource(record), name, value)
    return value


def _resource(record: Record | Model) -> str:
    return str(getattr(record, 'resource', ''))
