"""Policy overrides decide as Cinder's own context and oslo.policy do, which run beside these tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.rules import policy_language
from chalicelib.rules.policies import ANY_AUTHENTICATED, EXTENSIONS, POLICIES
from chalicelib.rules.policy_language import Facts, Unusable
from chalicelib.rules.policy_overrides import ATTRIBUTES, Overrides
from tests.policies import samples
from tests.policies.compared import (
    Oslo,
    as_cinders,
    callers,
    decisions,
    differences,
    oslo,
    targets,
    targets_of_all_kinds,
)
from tests.run_statistics import Counting

RULES = sorted(POLICIES.keys() - EXTENSIONS - {ANY_AUTHENTICATED})


@pytest.fixture(scope='module')
def beside() -> Iterator[Oslo]:
    with oslo() as process:
        yield process


def test_policy_files_give_cinders_matrix(beside: Oslo, counted: Counting) -> None:
    """Every rule, caller and object under each file. Where Cinder would answer 500, the request is denied."""
    files, who, what = {**samples.FILES, **samples.generated()}, callers(), targets()
    answers = beside.ask(
        policies=list(files.values()),
        callers=[as_cinders(caller) for caller in who],
        targets=[target.cinder for target in what],
    )
    found = {}
    for (name, text), cinders in zip(files.items(), answers, strict=True):
        found[name] = differences(decisions(text, RULES, who, what), cinders)
        counted('decisions under policy files compared with Cinder', sum(map(len, cinders.values())))
    assert found == {name: [] for name in files}


def test_attributes_of_all_kinds_are_cinders(beside: Oslo) -> None:
    """Each kind of object has the attributes that rules may compare, and no others."""
    names = sorted({name for kind in ATTRIBUTES.values() for name in kind} | {'name', 'deleted', 'nonsense'})
    checks = {rule: f"'secret':%({name})s or 'error':%({name})s" for rule, name in zip(RULES, names, strict=False)}
    text = json.dumps(checks)
    rules, who, what = RULES[: len(names)], callers()[:1], targets_of_all_kinds()
    [cinders] = beside.ask(policies=[text], callers=[as_cinders(who[0])], targets=[target.cinder for target in what])
    decided_here = decisions(text, rules, who, what)
    assert differences(decided_here, cinders) == []
    assert sum(map(bool, itertools.chain(*decided_here.values()))) == 8  # name and status of each


CHECKS = st.one_of(
    st.sampled_from([
        'role:member', 'role:ADMIN', 'role:%(role)s', 'role:', 'project_id:%(project_id)s', 'user_id:%(user_id)s',
        'user_id:u', 'is_admin:True', 'is_admin:1', 'True:%(flag)s', 'None:%(nothing)s', "'x':%(name)s", '"x":x',
        'roles:member', 'roles.x:member', 'user_id.x:u', 'nested.a:1', 'nested.b.c:x', 'lists.a:1', 'unknown:x',
        'service_roles:service', 'rule:one', 'rule:two', 'rule:wanted', 'rule:nowhere', 'rule:', '0x10:16',
        '@', '!', 'admin', 'x', ':', ':x', 'a:b:c', 'class:x', '1is:x', '[1]:[1]', '{}:{}', '-:x', '%(x)s:x', 'a-b:x',
        'role:é', '5:%(size)s', 'x:%', 'x:%%', 'x:%(name)d', 'x:%(name)', 'x:%(missing)s', 'domain_id:%(domain_id)s',
        "'a':'a'", "'q'", '5.0:5.0', '"q"', 'system_scope:None', 'project_domain_id:default', 'None:None', "b'x':x",
    ]),
    st.text('ro:le@!%()s\'"1.', min_size=1, max_size=8),
)  # fmt: skip

SPACES = st.sampled_from([' ', ' ', ' ', '  ', '\t', '\n'])


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    join = st.builds(lambda a, space, word, b: f'{a}{space}{word}{space}{b}', inner, SPACES, WORDS, inner)
    return st.one_of(join, inner.map('({})'.format), inner.map('not {}'.format), inner.map('( {} )'.format))


WORDS = st.sampled_from(['and', 'or', 'AND', 'Or'])
GRAMMATICAL = st.recursive(CHECKS, _nested, max_leaves=8)
SOUP = st.lists(st.one_of(CHECKS, st.sampled_from(['and', 'or', 'not', '(', ')', '((', '))', '()'])), max_size=7).map(
    ' '.join
)
TEXTS = st.one_of(GRAMMATICAL, SOUP, st.just(''), SPACES)
LISTS = st.lists(st.one_of(CHECKS, st.lists(CHECKS, max_size=3), st.just(''), st.just([5])), max_size=4)

CALLER = {
    'roles': ['member', 'Reader'], 'user_id': 'u', 'project_id': 'p', 'is_admin': False, 'service_roles': ['service'],
    'nested': {'a': 1, 'b': {'c': 'x'}}, 'lists': [{'a': 1}, {'b': 2}], 'system_scope': None, 'domain_id': None,
    'project_domain_id': 'default',
}  # fmt: skip
OBJECT = {
    'project_id': 'p', 'user_id': 'another', 'flag': True, 'nothing': None, 'name': 'x', 'size': 5, 'role': 'MEMBER',
}  # fmt: skip


def decided_here(rules: dict[str, Any]) -> bool | str:
    """Return the decision of the rule ``wanted``, or why it is denied where oslo.policy raises an exception."""
    overrides = Overrides(rules)
    known = lambda name: overrides.expression(name) if name in {*rules} or 'default' in rules else None  # noqa: E731
    try:
        return policy_language.evaluate(('rule', 'wanted'), Facts(OBJECT, CALLER, known))
    except Unusable as error:
        return str(error)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.one_of(TEXTS, LISTS), one=TEXTS, two=TEXTS, default=st.one_of(st.none(), TEXTS))
def test_generated_rules_decide_as_oslo_policy(
    beside: Oslo, counted: Counting, wanted: Any, one: str, two: str, default: str | None
) -> None:
    rules = {'wanted': wanted, 'one': one, 'two': two, **({} if default is None else {'default': default})}
    [expected] = beside.ask(expressions=[[rules, CALLER, OBJECT]])
    decided = decided_here(rules)

    assert (decided is True) == (expected is True)
    assert isinstance(decided, str) == isinstance(expected, str), (decided, expected)
    counted('generated policy rules compared with oslo.policy', 1)
