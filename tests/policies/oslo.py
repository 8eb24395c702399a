"""Runs in .venv-cinder: decisions of oslo.policy, and of Cinder with a policy file, for each line of its input.

{'expressions': [[rules, caller, target], ...]} -> [true, false or the name of the exception, ...]; the rule
``wanted`` of each is decided, with the other rules beside it.

{'policies': [text of a policy.yaml, ...], 'callers': [...], 'targets': [...]} -> for each text {rule: [decisions]},
each caller with each target: of Cinder's own context, enforcer and objects. A target is a kind of object with its
attributes, or null for an operation without one. ``context_is_admin`` is each caller's ``is_admin``.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from typing import Any

import eventlet  # type: ignore[import-untyped]

eventlet.monkey_patch()

from oslo_config import cfg  # noqa: E402
from oslo_policy import policy as oslo  # noqa: E402


def expressions(cases: list[Any]) -> list[bool | str]:
    options = cfg.ConfigOpts()
    options([])
    decided: list[bool | str] = []
    for rules, caller, target in cases:
        try:
            enforcer = oslo.Enforcer(options, use_conf=False)
            enforcer.set_rules(oslo.Rules.from_dict(rules, 'default'), use_conf=False)
            decided.append(bool(enforcer.enforce('wanted', target, caller)))
        except Exception as error:
            decided.append(type(error).__name__)
    return decided


def of_cinder(texts: list[str], callers: list[Any], targets: list[Any]) -> list[dict[str, list[bool | str]]]:
    from cinder import objects, policies, policy  # type: ignore[import-not-found]

    objects.register_all()
    cfg.CONF([], project='cinder')
    names = [rule.name for rule in policies.list_rules() if ':' in rule.name]
    answers = []
    for text in texts:
        with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:
            file.write(text)
            file.flush()
            cfg.CONF.set_override('policy_file', file.name, 'oslo_policy')
            policy.reset()
            policy.init(suppress_deprecation_warnings=True)
            contexts = [_context(caller) for caller in callers]
            answer = {
                name: [_decided(context, name, target) for context in contexts for target in targets] for name in names
            }
            answers.append({**answer, 'context_is_admin': [bool(context.is_admin) for context in contexts]})
    return answers


def _context(caller: dict[str, Any]) -> Any:
    from cinder import context

    return context.RequestContext(**{**caller, 'roles': list(caller['roles'])})


def _decided(context: Any, rule: str, target: Any) -> bool | str:
    from cinder import exception, objects

    found = None
    if target is not None:
        kind, facts = target
        found = getattr(objects, kind)(context, **facts)
    try:
        return bool(context.authorize(rule, target_obj=found, fatal=False))
    except exception.PolicyNotAuthorized:
        return False
    except Exception as error:
        return type(error).__name__


def main() -> None:
    """Answer each line of the standard input with a line."""
    logging.disable()
    warnings.simplefilter('ignore')
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = (
            expressions(request['expressions'])
            if 'expressions' in request
            else of_cinder(request['policies'], request['callers'], request['targets'])
        )
        print(json.dumps(answer), flush=True)


if __name__ == '__main__':
    main()
