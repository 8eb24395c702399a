"""Every rule for every set of roles, on the own project and on another, against the check strings of Cinder."""

from __future__ import annotations

import re

import pytest

from chalicelib.context import Context
from chalicelib.errors import PolicyNotAuthorized
from chalicelib.rules.policies import ANY_AUTHENTICATED, POLICIES, allowed, authorize

from .policy_defaults import CHECK_STRINGS, OTHER, OWN, ROLE_SETS, context

#: Rules that Cinder does not have: those of the extensions (docs/how-to/backup-schedules.md, backup-checks.md, ...).
EXTENSIONS = re.compile(r'backup_schedule:|operation:|backup:(copy|drill|scrub)$')


def granted(check: str, roles: frozenset[str], owns: bool) -> bool:
    """oslo.policy's reading of a check string with roles, the owning project, ``and`` and ``or``.

    tests/system/test_keystone.py compares with oslo.policy.
    """
    check = check.replace('is_admin_project:True', 'True').replace('is_admin:True', str('admin' in roles))
    check = re.sub(r'role:(\w+)', lambda found: str(found[1] in roles), check)
    return bool(eval(check.replace('project_id:%(project_id)s', str(owns))))


def test_the_table_holds_cinders_rules_and_no_others() -> None:
    rules = {rule for rule in POLICIES if not EXTENSIONS.match(rule)}
    assert rules == {*CHECK_STRINGS, ANY_AUTHENTICATED} - WITHOUT_ROUTE
    assert len(CHECK_STRINGS) == 161


#: Cinder defines them, but has no route that checks them.
WITHOUT_ROUTE = {'group:update_group_snapshot'}


@pytest.mark.parametrize('rule', sorted(CHECK_STRINGS.keys() - WITHOUT_ROUTE))
def test_a_rule_decides_as_its_check_string(rule: str) -> None:
    for roles in ROLE_SETS:
        for project in (OWN, OTHER):
            expected = granted(CHECK_STRINGS[rule], roles, owns=project == OWN)
            assert allowed(context(roles), rule, project) is expected, (sorted(roles), project)


#: One rule of each kind -> who may: on the own project, on another.
MATRIX = {
    'volume_extension:services:index': ({'admin'}, {'admin'}),
    'volume:delete': ({'admin', 'manager', 'member'}, {'admin'}),
    'volume:get': ({'admin', 'manager', 'member', 'reader'}, {'admin'}),
    ANY_AUTHENTICATED: (
        {'admin', 'manager', 'member', 'reader', 'service', 'auditor'},
        {'admin', 'manager', 'member', 'reader', 'service', 'auditor'},
    ),
}


@pytest.mark.parametrize('rule', MATRIX)
@pytest.mark.parametrize('role', ['admin', 'manager', 'member', 'reader', 'service', 'auditor'])
def test_a_single_role_gives_what_it_implies_even_if_the_token_does_not_spell_it_out(rule: str, role: str) -> None:
    caller = context(frozenset({role}))
    own, other = MATRIX[rule]

    assert allowed(caller, rule, OWN) is (role in own)
    assert allowed(caller, rule, OTHER) is (role in other)


def test_without_a_target_the_callers_own_project_counts() -> None:
    reader = context(frozenset({'reader'}))

    assert allowed(reader, 'volume:get_all')
    assert not allowed(reader, 'volume:create')


def test_a_service_token_beside_the_users_gives_no_rule() -> None:
    caller = Context(user_id='u', project_id=OWN, roles=frozenset(), service_roles=frozenset({'admin', 'service'}))

    assert [rule for rule in POLICIES if allowed(caller, rule)] == [ANY_AUTHENTICATED]


def test_a_refusal_is_cinders_403() -> None:
    with pytest.raises(PolicyNotAuthorized) as refusal:
        authorize(context(frozenset({'reader'})), 'volume:delete')

    assert refusal.value.code == 403
    assert refusal.value.message == "Policy doesn't allow volume:delete to be performed."


def test_what_is_allowed_passes_in_silence() -> None:
    authorize(context(frozenset({'member'})), 'volume:delete', OWN)
    authorize(context(frozenset({'admin'})), 'volume:delete', OTHER)


@pytest.mark.parametrize('rule', ['volume:fly', '', 'VOLUME:GET'])
def test_a_rule_that_does_not_exist_is_a_mistake_and_no_yes(rule: str) -> None:
    with pytest.raises(KeyError):
        allowed(context(frozenset({'admin'})), rule)
