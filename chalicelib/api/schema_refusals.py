"""Messages for bodies that do not match their schema, in the jsonschema library's words, which Cinder's clients know.

Of several failures the one that jsonschema meets first counts: it walks a schema in order, and reports a member's
errors before those of the object that contains it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.api.formats import REFUSALS
from chalicelib.errors import Invalid, ValidationError

Schema = Mapping[str, Any]


def refusal(failures: list[Any], body: Any) -> Invalid:
    """Return the error for a body with these failures (of fastjsonschema)."""
    failure = _first(failures)
    if failure.rule == 'format' and failure.rule_definition in REFUSALS:
        return REFUSALS[failure.rule_definition](failure.value)
    text = RULES[failure.rule](failure.value, failure.rule_definition, failure.definition)
    path = _path(failure.name.removeprefix('data'), body)
    if not path:
        return ValidationError(text)
    return ValidationError(f'Invalid input for field/attribute {path[-1]}. Value: {failure.value}. {text}')


def _first(failures: list[Any]) -> Any:
    """Return the failure that jsonschema would meet first."""
    first = failures[0]
    while inner := next((other for other in failures if _within(other.name, first.name)), None):
        first = inner
    same = [failure for failure in failures if failure.name == first.name]
    return min(same, key=lambda failure: list(failure.definition).index(failure.rule))


def _within(name: str, container: str) -> bool:
    return name.startswith((f'{container}.', f'{container}['))


def _path(name: str, value: Any) -> list[str | int]:
    """Return the keys in the compiler's name ``.volume.metadata.a.b``: a key may contain a dot itself."""
    if not name:
        return []
    steps: list[tuple[str, str | int]] = []
    if isinstance(value, dict):
        steps = [(f'.{key}', key) for key in value]
    elif isinstance(value, list):
        steps = [(f'[{index}]', index) for index in range(len(value))]
    for step, key in sorted(steps, key=lambda step: -len(step[0])):
        rest = name.removeprefix(step)
        if rest != name and (not rest or rest[0] in '.['):
            return [key, *_path(rest, value[key])]
    return [name.lstrip('.')]


def _type(value: Any, limit: Any, schema: Schema) -> str:
    types = limit if isinstance(limit, list) else [limit]
    return f'{value!r} is not of type {", ".join(map(repr, types))}'


def _required(value: Any, limit: Any, schema: Schema) -> str:
    return f'{next(name for name in limit if name not in value)!r} is a required property'


def _additional(value: Any, limit: Any, schema: Schema) -> str:
    patterns = sorted(schema.get('patternProperties', {}))
    known = schema.get('properties', {})
    extra = sorted(key for key in value if key not in known and not any(re.search(each, key) for each in patterns))
    names = ', '.join(map(repr, extra))
    if patterns:
        verb = 'does' if len(extra) == 1 else 'do'
        return f'{names} {verb} not match any of the regexes: {", ".join(map(repr, patterns))}'
    return f'Additional properties are not allowed ({names} {"was" if len(extra) == 1 else "were"} unexpected)'


def _none_fits(value: Any, limit: Any, schema: Schema) -> str:
    return f'{value!r} is not valid under any of the given schemas'


#: Rule -> message: (value, limit, schema) -> text. The words are jsonschema's.
RULES: Mapping[str, Callable[[Any, Any, Schema], str]] = {
    'type': _type,
    'required': _required,
    'additionalProperties': _additional,
    'anyOf': _none_fits,
    'oneOf': _none_fits,
    'enum': lambda value, limit, _: f'{value!r} is not one of {limit!r}',
    'format': lambda value, limit, _: f'{value!r} is not a {limit!r}',
    'pattern': lambda value, limit, _: f'{value!r} does not match {limit!r}',
    'minimum': lambda value, limit, _: f'{value!r} is less than the minimum of {limit!r}',
    'maximum': lambda value, limit, _: f'{value!r} is greater than the maximum of {limit!r}',
    'minLength': lambda value, limit, _: f'{value!r} {"should be non-empty" if limit == 1 else "is too short"}',
    'maxLength': lambda value, limit, _: f'{value!r} is too long',
    'minItems': lambda value, limit, _: f'{value!r} {"should be non-empty" if limit == 1 else "is too short"}',
    'minProperties': lambda value, limit, _: f'{value!r} {_too_few(limit)}',
    'maxProperties': lambda value, limit, _: f'{value!r} has too many properties',
    'maxItems': lambda value, limit, _: f'{value!r} is too long',
    'uniqueItems': lambda value, limit, _: f'{value!r} has non-unique elements',
}


def _too_few(limit: int) -> str:
    return 'should be non-empty' if limit == 1 else 'does not have enough properties'
