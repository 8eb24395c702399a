"""``python -m tests.mutants PART [COUNT] [SEED] [MINUTES]``: change the code in many places; tests must fail.

mutmut makes the mutants and runs, for each one of the sample, the part's tests that reach the changed function. The
report lists those that no test noticed. Exit code 1 when fewer than ``WANTED`` percent were noticed.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.parts import PARTS, ROOT, UNREAD, Equivalent, Part, equivalents
from tests.system import environments

#: Percent of the sample that the tests must notice.
WANTED = 85

#: mutmut's words for a mutant that was noticed.
KILLED, TIMED_OUT = ('killed', 'caught by type check', 'segfault', 'suspicious'), 'timeout'

#: mutmut's word for a mutant that was not run.
NOT_RUN = 'not checked'

#: Entries of the root that the part's folder does not have.
LEFT_OUT = ('.git', '.build', 'pyproject.toml', 'mutants')


class Mutant(NamedTuple):
    file: str
    status: str
    diff: str

    @property
    def change(self) -> tuple[str, str, str]:
        """The file, and the first line that differs, before and after."""
        lines = self.diff.splitlines()[2:]
        return self.file, _first(lines, '-'), _first(lines, '+')


def _first(lines: list[str], sign: str) -> str:
    return next((line[1:].strip() for line in lines if line.startswith(sign)), '')


def main(name: str, count: int, seed: int, minutes: float) -> int:
    """Run one part; print the report, and return the exit code."""
    folder = prepare(name, PARTS[name])
    report = folder / 'report.json'
    report.unlink(missing_ok=True)
    command = [python(), str(Path(__file__).with_name('worker.py')), str(count), str(seed), str(minutes)]
    command.append(str(report))
    log = folder / 'mutmut.log'
    print(f'The output of mutmut is in {log.relative_to(ROOT)}', flush=True)
    with log.open('w') as output:
        environment = {**os.environ, 'PYTHONPATH': ''}
        subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, check=True)
    return show(name, seed, json.loads(report.read_text()))


def python() -> str:
    """mutmut's Python. The packages of the project's environment come after its own."""
    executable = environments.ensure('mutmut')
    for place in executable.parents[1].glob('lib/python*/site-packages'):
        (place / 'project.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return str(executable)


def prepare(name: str, part: Part) -> Path:
    """Make the part's folder: links to the repository's entries, and mutmut's configuration."""
    folder = ROOT / '.build' / 'mutants' / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    entries = [path for path in ROOT.iterdir() if path.name not in LEFT_OUT]
    for path in entries:
        (folder / path.name).symlink_to(path)
    copied = [path.name for path in entries if path.name == '.chalice' or not path.name.startswith('.')]
    facts = {
        'source_paths': ['chalicelib'],
        'only_mutate': list(part.paths),
        'also_copy': [name for name in copied if name != 'chalicelib'],
        'pytest_add_cli_args_test_selection': list(part.tests),
        'pytest_add_cli_args': ['-p', 'no:xdist', '-p', 'no:cacheprovider', '-p', 'tests.mutants.steady'],
        'do_not_mutate_patterns': list(UNREAD),
        'use_git_change_detection': False,
        'timeout_constant': 5.0,
    }
    section = '\n'.join(f'{key} = {json.dumps(value)}' for key, value in facts.items())
    (folder / 'pyproject.toml').write_text(f'{(ROOT / "pyproject.toml").read_text()}\n[tool.mutmut]\n{section}\n')
    return folder


def show(name: str, seed: int, facts: dict[str, Any]) -> int:
    """Print the report; return the exit code."""
    drawn = [Mutant(*one) for one in facts['sample']]
    sample = [one for one in drawn if one.status != NOT_RUN]
    reasons = {one[:3]: one for one in equivalents()}
    left = [one for one in sample if one.status not in (*KILLED, TIMED_OUT)]
    same = [(one, reasons[one.change]) for one in left if one.change in reasons]
    survivors = [one for one in left if one.change not in reasons]
    for one in survivors:
        print(f'\n{one.status}: {one.diff}')
    show_equivalents(same)
    counted = collections.Counter(one.status for one in sample)
    noticed, real = sum(counted[word] for word in (*KILLED, TIMED_OUT)), len(sample) - len(same)
    percent = 100 * noticed / real
    print(f'\n{name}, seed {seed}: {len(sample)} of {facts["mutants"]} mutants')
    print(f'{noticed} killed ({counted[TIMED_OUT]} by a time-out), {len(survivors)} survived, {len(same)} equivalent')
    if len(drawn) > len(sample):
        print(f'{len(drawn) - len(sample)} more were drawn, and the time was over before they were run')
    print(f'{percent:.1f} % of {real} (wanted: {WANTED} %)')
    return int(percent < WANTED)


def show_equivalents(found: list[tuple[Mutant, Equivalent]]) -> None:
    for one, why in found:
        print(f'\nequivalent: {one.file}: {why.was} -> {why.becomes}\n  {re.sub(" +", " ", why.reason)}')


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make mutants', description=__doc__)
    parser.add_argument('part', choices=sorted(PARTS))
    parser.add_argument('count', type=int, nargs='?', default=300)
    parser.add_argument('seed', type=int, nargs='?', default=1)
    parser.add_argument('minutes', type=float, nargs='?', default=0, help='end after so many minutes (0: never)')
    return parser.parse_args()


if __name__ == '__main__':
    wanted = arguments()
    sys.exit(main(wanted.part, wanted.count, wanted.seed, wanted.minutes))
