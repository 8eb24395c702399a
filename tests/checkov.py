"""``make checkov``: its findings about the template against tests/checkov.yaml, in both directions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from infra.render import templates
from tests.system.environments import ensure

WAIVED = Path(__file__).with_suffix('.yaml')


def waived() -> Mapping[str, str]:
    """{check: why its finding stays}."""
    found: Mapping[str, str] = yaml.safe_load(WAIVED.read_text(encoding='utf-8'))
    return found


def complaints(found: Iterable[tuple[str, str]], known: Mapping[str, str]) -> list[str]:
    """Findings (check, resource) that are not waived, and waivers without a finding."""
    rows = list(found)
    new = [f'{check} {resource}' for check, resource in rows if check not in known]
    return new + [f'{check} is waived, and checkov does not find it' for check in known if check not in dict(rows)]


def run() -> list[tuple[str, str]]:
    """Return checkov's findings in the template after the SAM transform."""
    program = ensure('checkov').with_name('checkov')
    command = [str(program), '-f', str(templates() / 'plain.json'), '--framework', 'cloudformation']
    answer = subprocess.run([*command, '--quiet', '--compact', '-o', 'json'], capture_output=True, check=False)
    report = json.loads(answer.stdout)
    return [(each['check_id'], each['resource']) for each in report['results']['failed_checks']]


if __name__ == '__main__':
    lines = complaints(run(), waived())
    print('\n'.join(lines) or f'every finding is waived in writing ({len(waived())} checks)')
    sys.exit(1 if lines else 0)
