"""How a record's attributes are read from an item: as PynamoDB reads them, in less time (``Record.from_raw_data``)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

from pynamodb.attributes import (
    Attribute,
    BooleanAttribute,
    JSONAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.models import Model


class Reader(NamedTuple):
    """How an attribute is read: text and booleans, which arrive as they are, have no decoder."""

    name: str
    kind: str
    read: Callable[[Any], Any] | None


@functools.cache
def attributes(kind: type[Model]) -> tuple[dict[str, Reader], dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """Return readers by name in the table, defaults by attribute, and (attribute, function that makes its default)."""
    declared = kind.get_attributes()
    readers = {one.attr_name: Reader(name, one.attr_type, _decoder(one)) for name, one in declared.items()}
    defaults = {name: _default(one) for name, one in declared.items()}
    constants = {name: default for name, default in defaults.items() if default is not None and not callable(default)}
    return readers, constants, [(name, default) for name, default in defaults.items() if callable(default)]


def _decoder(attribute: Attribute[Any]) -> Callable[[Any], Any] | None:
    if isinstance(attribute, MapAttribute):  # PynamoDB converts dicts to its own maps when they are assigned
        return lambda sent: MapAttribute(**attribute.deserialize(sent))
    return _DECODERS.get(type(attribute), attribute.deserialize)


def _default(attribute: Attribute[Any]) -> Any:
    return MapAttribute if isinstance(attribute, MapAttribute) and attribute.default else attribute.default


def _number(text: str) -> Any:
    """Return what PynamoDB returns, which parses JSON; almost all numbers are integers."""
    return int(text) if text.lstrip('-').isdecimal() else json.loads(text)


#: PynamoDB's decoder, made once: it accepts control characters in texts.
_decode = json.JSONDecoder(strict=False).decode


def _json(text: str) -> Any:
    """Return what PynamoDB returns; most of a record's maps are empty."""
    return {} if text == '{}' else _decode(text)


#: Class of attribute -> its decoder, where that is not PynamoDB's.
_DECODERS: dict[type[Attribute[Any]], Callable[[Any], Any] | None] = {
    UnicodeAttribute: None,
    BooleanAttribute: None,
    NumberAttribute: _number,
    JSONAttribute: _json,
}
