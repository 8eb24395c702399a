"""The check of a policy file before it is used: a ``policy.yaml`` of Cinder, or the JSON of the parameter.

It finds what Cinder would deny or ignore silently. docs/how-to/coming-from-cinder.md describes the rules.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from chalicelib.rules import policy_language, policy_overrides
from chalicelib.rules.policies import ANY_AUTHENTICATED, EXTENSIONS, POLICIES
from chalicelib.rules.policy_language import ALWAYS, Expression
from chalicelib.rules.policy_overrides import ATTRIBUTES, DEFAULT, HELPERS, IS_ADMIN, RENAMED, WITHOUT_ROUTE, Overrides

#: CloudFormation's limit for the value of a parameter, and SSM's for a free one, in bytes.
MAX_BYTES = 4096

#: Most rules of a document, compressed or not.
MAX_RULES = 1000

#: Names of Cinder's rules, and of those of the extensions.
KNOWN = frozenset({*POLICIES, *WITHOUT_ROUTE, *HELPERS}) - {ANY_AUTHENTICATED}

#: Attributes of a caller that rules may compare.
CALLER = frozenset({
    'user_id', 'user_domain_id', 'system_scope', 'domain_id', 'project_id', 'project_domain_id', 'roles',
    'is_admin_project', 'service_roles', 'is_admin',
})  # fmt: skip

#: Attributes of an object that rules may compare.
OBJECT = frozenset(name for names in ATTRIBUTES.values() for name in names)


class Refused(ValueError):
    """A policy file is not usable: one line with the rule, what is wrong, and what to do."""


class Note(NamedTuple):
    """What a file means that its author may not expect."""

    rule: str
    text: str


def read(text: str) -> dict[str, Any]:
    """Return the rules of a policy file (YAML or JSON), or of a compressed document. Raises Refused."""
    rules = _parsed(text)
    if not isinstance(rules, dict):
        raise Refused('not a policy file: give names and rules, such as "volume:create": "role:member"')
    if len(rules) > MAX_RULES:
        raise Refused(f'{len(rules)} rules: at most {MAX_RULES} are read')
    for name in rules:
        if not isinstance(name, str):
            raise Refused(f'the name {name!r} is not a text: write it in quotes')
    return rules


def _parsed(text: str) -> Any:
    try:
        return policy_overrides.document(text)
    except (ValueError, RecursionError):
        pass  # YAML, of which JSON is a part
    try:
        return yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        reason = ' '.join(str(error).split())
        raise Refused(f'neither YAML nor JSON: {reason}') from None


def problems(rules: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (rule, what is wrong and what to do) for each rule that is not usable as it is written."""
    overrides = Overrides(rules)
    for name, rule in rules.items():
        found: list[str] = []
        expression = policy_language.parse(rule, found)
        for problem in [*found, *_of_expression(expression, overrides)]:
            yield name, problem
        if (cycle := _cycle(name, expression, overrides)) is not None:
            yield name, f'refers to itself ({cycle}): replace one of the references'
        if name == ANY_AUTHENTICATED:
            yield name, 'is not a rule of Cinder: remove it'


def check(rules: Mapping[str, Any]) -> None:
    """Raise Refused for the first problem."""
    for name, problem in problems(rules):
        raise Refused(f'{name} {problem}')


def _of_expression(expression: Expression, overrides: Overrides) -> Iterator[str]:
    for word, *operands in _parts(expression):
        if word == 'rule' and overrides.source(operands[0])[0] is None:
            near = similar(operands[0], {*overrides.given, *KNOWN}) or ': define it, or remove the reference'
            yield f'refers to the rule {operands[0]!r}, which does not exist{near}'
        if word in _COMPARING and _SUBSTITUTION.sub('', operands[-1]).count('%'):
            yield f'has {operands[-1]!r}: write %(name)s for an attribute of the object, %% for a percent sign'


#: Checks that compare with a text, their last operand.
_COMPARING = ('fact', 'role', 'literal')

_SUBSTITUTION = re.compile(r'%%|%\(([^()]*)\)s')


def _unknown_attributes(expression: Expression) -> Iterator[str]:
    """Yield what an expression compares that no caller, or no object, has: such a check never holds."""
    for word, *operands in _parts(expression):
        if word == 'fact' and operands[0][0] not in CALLER:
            yield f'compares {".".join(operands[0])}, which no caller has'
        for name in _SUBSTITUTION.findall(operands[-1]) if word in _COMPARING else ():
            if name and name not in OBJECT:
                yield f'compares %({name})s, which no object has'


def similar(name: str, names: Iterable[str]) -> str:
    """Return the advice to use the most similar of some names; '' if none is similar."""
    close = difflib.get_close_matches(name, names, 1)
    return f': did you mean {close[0]!r}?' if close else ''


def changes(rule: str, overrides: Overrides) -> str:
    """Return the overridden rule by which a rule with its default changes; '' if there is none."""
    if rule in EXTENSIONS:
        return ''
    pending, seen = [rule], set()
    while pending:
        expression = overrides.expression(pending.pop()) or ALWAYS
        for other in (*_references(expression), *([IS_ADMIN] if _asks_for_admin(expression) else ())):
            if overrides.source(other)[1]:
                return str(other)
            pending += [] if other in seen else [other]
            seen.add(other)
    return ''


def _asks_for_admin(expression: Expression) -> bool:
    return any(part[:2] == ('fact', ('is_admin',)) for part in _parts(expression))


def _parts(expression: Expression) -> Iterator[Expression]:
    """Yield the checks of an expression."""
    if expression[0] in ('and', 'or', 'not'):
        for each in expression[1:]:
            yield from _parts(each)
    else:
        yield expression


def _references(expression: Expression) -> list[str]:
    return [part[1] for part in _parts(expression) if part[0] == 'rule']


def _cycle(name: str, expression: Expression, overrides: Overrides) -> str | None:
    """Return the way by which a rule refers to itself, None if it does not."""
    ways = [[name, other] for other in _references(expression)]
    seen = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return ' -> '.join(way)
        if way[-1] not in seen:
            seen.add(way[-1])
            following = overrides.expression(way[-1])
            ways += [[*way, other] for other in _references(following or ALWAYS)]
    return None


def notes(rules: Mapping[str, Any]) -> list[Note]:
    """Return what a file means that is not plain from it, by rule."""
    overrides = Overrides(rules)
    parsed = {name: policy_language.parse(rule) for name, rule in rules.items()}
    referred = {other for expression in parsed.values() for other in _references(expression)}
    found = []
    for name, expression in parsed.items():
        texts = [_note(name, overrides, referred), *_unknown_attributes(expression)]
        found += [Note(name, text) for text in texts if text]
    return found


def _note(name: str, overrides: Overrides, referred: set[str]) -> str:
    if name in RENAMED:
        return _note_of_former(name, overrides)
    if name in EXTENSIONS:
        return 'is a rule of an extension: an override can only restrict it'
    if name == DEFAULT:
        return 'applies in place of rules that do not exist'
    if name not in KNOWN and name not in referred:
        return f'has no effect: Cinder 29 has no such rule, and no rule refers to it{similar(name, KNOWN)}'
    if name in KNOWN and is_default(name, overrides):
        return 'is the default: it may be removed'
    if policy_language.parse(overrides.given[name]) == ALWAYS:
        return 'allows every caller with a valid token'
    return ''


def _note_of_former(name: str, overrides: Overrides) -> str:
    _, names = RENAMED[name]
    applied = [new for new in names if overrides.source(new)[1] == name]
    if applied:
        return f'is the former name of {", ".join(applied)}: it applies to them; rename it'
    return f'is the former name of {", ".join(names)}, and has no effect'


def is_default(name: str, overrides: Overrides) -> bool:
    """Return whether a rule is written as Cinder's default of the same name."""
    default = policy_overrides.default_check(name)
    return default is not None and policy_language.parse(overrides.given[name]) == policy_language.parse(default)


def document(text: str) -> str:
    """Return the parameter for a policy file: checked, and without rules that are the default. Raises Refused.

    Longer documents are compressed.
    """
    rules = read(text)
    check(rules)
    overrides = Overrides(rules)
    kept = {name: rule for name, rule in rules.items() if not (name in KNOWN and is_default(name, overrides))}
    kept |= {name: rules[name] for name in rules if _shields(name, rules)}
    found = policy_overrides.encoded(kept, MAX_BYTES) if kept else ''
    if len(found) > MAX_BYTES:
        raise Refused(
            f'{len(kept)} rules have {len(found)} bytes compressed, and a parameter takes {MAX_BYTES}: shorten them'
        )
    return found


def _shields(name: str, rules: Mapping[str, Any]) -> bool:
    """Return whether a default keeps a rule under a former name from applying."""
    return any(name in names and former in rules for former, (_, names) in RENAMED.items())
