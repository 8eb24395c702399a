"""Make all mutants of a part, draw a sample, and run it: in mutmut's environment, in a folder of the part's own.

    python worker.py COUNT SEED MINUTES REPORT

The folder has the repository's entries, and a pyproject.toml with mutmut's section. REPORT receives JSON: how many
mutants there are, and [file, status, diff] of each one in the sample. After MINUTES (0: never) the others are
"not checked".
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from mutmut import __main__ as mutmut
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test

#: Processes that run tests at once.
CHILDREN = 2

#: Bytes of address space for each process: a mutant may allocate without end before its time is up.
MEMORY = 5 * 1024**3


def make() -> dict[str, Path]:
    """Write the mutated files; return the file of each mutant."""
    set_mutant_under_test('mutant_generation')
    Path('mutants').mkdir(exist_ok=True)
    Path('mutants/.tools').symlink_to(Path('.tools').resolve())  # programs that tests start are not copied
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(CHILDREN)
    return {name: path for path in mutmut.walk_mutatable_files() for name in _data(path).exit_code_by_key}


def _data(path: Path) -> Any:
    data = SourceFileMutationData(path=path)
    data.load()
    return data


def main(count: int, seed: int, minutes: float, report: Path) -> None:
    limits = [MEMORY, *(one for one in resource.getrlimit(resource.RLIMIT_AS) if one != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), min(limits)))
    signal.signal(signal.SIGALRM, signal.default_int_handler)  # mutmut ends in order when it is interrupted
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    known = make()
    sample = random.Random(seed).sample(sorted(known), min(count, len(known)))
    mutmut._run(sample, CHILDREN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    results = [[str(known[name]), _status(name, known[name]), _diff(name, known[name])] for name in sorted(sample)]
    report.write_text(json.dumps({'mutants': len(known), 'sample': results}))


def _status(name: str, path: Path) -> str:
    return str(mutmut.status_by_exit_code[_data(path).exit_code_by_key[name]])


def _diff(name: str, path: Path) -> str:
    return str(get_diff_for_mutant(name, path=path))


if __name__ == '__main__':
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
