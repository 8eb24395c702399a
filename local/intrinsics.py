"""CloudFormation's functions, for the resources that the local cloud creates itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

_VARIABLE = re.compile(r'\$\{(!?)([^}]+)\}')

#: What ``Ref: AWS::NoValue`` resolves to; keys that hold it are left out.
NO_VALUE = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The values of names. ``refs``: parameters, pseudo parameters and resources; ``arns``: logical id -> ARN."""

    refs: Mapping[str, Any]
    arns: Mapping[str, str]
    conditions: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def resolve(self, value: Any) -> Any:
        """Return ``value`` with every intrinsic in it resolved. Raises KeyError for a name that is not in scope."""
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        function = next(iter(value), '') if len(value) == 1 else ''
        if function in _FUNCTIONS:
            return _FUNCTIONS[function](self, value[function])
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}

    def _ref(self, name: str) -> Any:
        return NO_VALUE if name == 'AWS::NoValue' else self.refs[name]

    def _attribute(self, path: list[str] | str) -> str:
        name, attribute = path if isinstance(path, list) else path.split('.', 1)
        if attribute != 'Arn':
            raise KeyError(f'{name}.{attribute}')
        return self.arns[name]

    def _sub(self, value: str | list[Any]) -> str:
        text, own = (value, {}) if isinstance(value, str) else (value[0], self.resolve(value[1]))
        return _VARIABLE.sub(lambda found: self._variable(found[1], found[2], own), text)

    def _variable(self, literal: str, name: str, own: Mapping[str, Any]) -> str:
        if literal:
            return f'${{{name}}}'
        if name in own:
            return str(own[name])
        return self._attribute(name) if '.' in name else str(self._ref(name))

    def _if(self, value: list[Any]) -> Any:
        condition, when_true, when_false = value
        return self.resolve(when_true if self.resolve(self.conditions[condition]) else when_false)

    def _join(self, value: list[Any]) -> str:
        items = self.resolve(value[1])
        return str(value[0]).join(items if isinstance(items, list) else [str(items)])

    def _equals(self, value: list[Any]) -> bool:
        first, second = self.resolve(value)
        return bool(first == second)

    def _and(self, value: list[Any]) -> bool:
        return all(self.resolve(item) for item in value)

    def _or(self, value: list[Any]) -> bool:
        return any(self.resolve(item) for item in value)

    def _not(self, value: list[Any]) -> bool:
        return not self.resolve(value[0])


_FUNCTIONS: dict[str, Callable[[Scope, Any], Any]] = {
    'Ref': Scope._ref,
    'Fn::GetAtt': Scope._attribute,
    'Fn::Sub': Scope._sub,
    'Fn::If': Scope._if,
    'Fn::Join': Scope._join,
    'Fn::Equals': Scope._equals,
    'Fn::Not': Scope._not,
    'Fn::And': Scope._and,
    'Fn::Or': Scope._or,
}
