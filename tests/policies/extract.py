"""Write rules.json and targets.json from Cinder's package: ``.venv-cinder/bin/python extract.py``."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

VERSION = '29.0.0'


def facts() -> dict[str, object]:
    """Return each rule's check string, and the requests that it is documented for."""
    from cinder import policies  # type: ignore[import-not-found]

    rules = {}
    for rule in policies.list_rules():
        requests = [
            f'{method} {one["path"]}'
            for one in getattr(rule, 'operations', ())
            for method in ([one['method']] if isinstance(one['method'], str) else one['method'])
        ]
        rules[rule.name] = {'check': rule.check_str, 'requests': requests}
    return {'source': f'cinder {VERSION}, cinder/policies', 'rules': dict(sorted(rules.items()))}


#: Actions whose rules are formed from the class and the action.
ACTIONS = {
    f'volume_extension:{kind}_admin_actions:{action}': ['resource']
    for kind in ('volume', 'snapshot', 'backup')
    for action in ('reset_status', 'force_delete')
} | {'volume_extension:volume_admin_actions:force_detach': ['volume']}

#: Rules that a function receives with the project.
OF_PROJECT = ('default_set_or_update', 'default_get', 'default_unset')


def targets() -> dict[str, list[str]]:
    """Return {rule: the expressions of Cinder's code for what the rule is about}; '' for the caller alone."""
    import cinder

    root = Path(cinder.__file__).parent
    found: dict[str, set[str]] = {}
    for folder in ('api', 'volume', 'backup', 'group', 'transfer', 'message'):
        for path in sorted((root / folder).rglob('*.py')):
            if 'authorize(' in (text := path.read_text()):
                for rule, target in _calls(ast.parse(text)):
                    found.setdefault(rule, set()).add(target)
    of_project = {f'volume_extension:{name}': ['target'] for name in OF_PROJECT}
    return dict(sorted({**{rule: sorted(found[rule]) for rule in found}, **ACTIONS, **of_project}.items()))


def _calls(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (rule, target) of each call of ``authorize`` whose rule is a constant of ``cinder.policies``."""
    names = {
        alias.asname or alias.name: importlib.import_module(f'{node.module}.{alias.name}')
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == 'cinder.policies'
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'authorize':
            rule = node.args[0] if node.args else None
            if isinstance(rule, ast.Attribute) and isinstance(rule.value, ast.Name) and rule.value.id in names:
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                target = given.get('target_obj') or ('target' if 'target' in given else '')
                yield getattr(names[rule.value.id], rule.attr), target


if __name__ == '__main__':
    for name, content in (('rules', facts()), ('targets', targets())):
        Path(__file__).with_name(f'{name}.json').write_text(json.dumps(content, indent=1) + '\n')
