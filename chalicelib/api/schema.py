"""Validation of bodies by JSON schemas: compiled at a route's first use, with the messages that Cinder's clients know.

The members of a schema may depend on the microversion: ``since('3.43', ...)`` marks a later one.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chalicelib.api import schema_refusals
from chalicelib.api.formats import FORMATS
from chalicelib.api.parameters import BOUND
from chalicelib.rules import bounds, microversions
from chalicelib.rules.microversions import Version

Schema = Mapping[str, Any]
Validator = Callable[[Any], Any]

#: Marks parts that apply only from a microversion on.
SINCE = 'x-since'


def since(version: str, schema: Schema) -> Schema:
    """Mark a member that bodies may have from ``version`` on."""
    return {**schema, SINCE: microversions.parse(version)}


class BodySchema:
    """The schema of one route's body, compiled per range of versions with equal schemas."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._validators: dict[int, Validator] = {}

    @functools.cached_property
    def _boundaries(self) -> list[Version]:
        return sorted(_boundaries(self.schema))

    def check(self, body: Any, version: Version) -> None:
        """Raise Invalid (mostly ValidationError), in Cinder's words, unless ``body`` is valid at ``version``.

        Raises AttributeTooLarge for a part beyond its bound of rules/bounds.py.
        """
        import fastjsonschema

        span = bisect.bisect_right(self._boundaries, version)
        if span not in self._validators:
            self._validators[span] = fastjsonschema.compile(
                at(self.schema, version), formats=FORMATS, use_default=False, fast_fail=False
            )
        try:
            self._validators[span](body)
        except fastjsonschema.JsonSchemaValuesException as failure:
            raise schema_refusals.refusal(failure.errors, body) from None
        for name, part in _bounded(self.schema, body):
            bounds.check_part(name, part)


def at(schema: Any, version: Version) -> Any:
    """Return ``schema`` at ``version``: without the members of other versions."""
    if isinstance(schema, list):
        return [at(part, version) for part in schema if _holds(part, version)]
    if not isinstance(schema, Mapping):
        return schema
    kept = {key: at(part, version) for key, part in schema.items() if key != SINCE}
    return {key: part for key, part in kept.items() if _holds(schema[key], version)}


def _bounded(schema: Schema, body: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each part of a body with its own bound."""
    if BOUND in schema:
        yield schema[BOUND], body
    if isinstance(body, dict):
        for key, part in schema.get('properties', {}).items():
            if key in body:
                yield from _bounded(part, body[key])


def _holds(part: Any, version: Version) -> bool:
    return not isinstance(part, Mapping) or bool(part.get(SINCE, version) <= version)


def _boundaries(schema: Any) -> Iterator[Version]:
    """Yield the versions at which some part of the schema changes."""
    if isinstance(schema, list):
        for part in schema:
            yield from _boundaries(part)
    elif isinstance(schema, Mapping):
        if SINCE in schema:
            yield schema[SINCE]
        for part in schema.values():
            yield from _boundaries(part)
