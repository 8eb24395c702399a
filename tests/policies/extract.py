"""Write rules.json from Cinder's package: ``PYTHONPATH=<unpacked wheel> .venv-keystone/bin/python extract.py``.

The wheel is ``pip download --no-deps cinder==29.0.0``; only ``cinder/policies`` of it is needed.
"""

from __future__ import annotations

import json
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


if __name__ == '__main__':
    Path(__file__).with_name('rules.json').write_text(json.dumps(facts(), indent=1) + '\n')
