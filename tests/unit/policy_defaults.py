"""Cinder's policy rules with their default check strings, as its package has them (tests/policies/rules.json)."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from chalicelib.context import Context, implied_roles

#: Rule -> {'check': check string, 'requests': the requests that Cinder documents for it}.
RULES: dict[str, dict[str, object]] = json.loads((Path(__file__).parents[1] / 'policies' / 'rules.json').read_text())[
    'rules'
]


def _resolved(check: str) -> str:
    """Return a check string with the rules that it refers to in place."""
    return re.sub(r'rule:(\w+)', lambda found: f'({_resolved(str(RULES[found[1]]["check"]))})', check)


#: Rule -> its check string, without the helpers that rules refer to.
CHECK_STRINGS: dict[str, str] = {name: _resolved(str(rule['check'])) for name, rule in RULES.items() if ':' in name}

ROLES = ('admin', 'manager', 'member', 'reader', 'service', 'auditor')

#: Every set of roles that a token can hold, with what Keystone adds to it.
ROLE_SETS = sorted(
    {implied_roles(roles) for size in range(len(ROLES) + 1) for roles in itertools.combinations(ROLES, size)},
    key=sorted,
)

OWN, OTHER = 'a' * 32, 'b' * 32


def context(roles: frozenset[str]) -> Context:
    """A caller with ``roles`` on the project OWN."""
    return Context(user_id='u' * 32, project_id=OWN, roles=roles)
