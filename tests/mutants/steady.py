"""A pytest plugin for runs of mutants: Hypothesis draws the same, and does not judge how fast a busy machine is.

mutmut forks the run of each mutant from a process that has run all the tests. What was computed there without the
mutant would hide it, so caches are cleared and modules of tests are imported again.
"""

from __future__ import annotations

import sys
from types import ModuleType

from hypothesis import HealthCheck, settings

from tests import recording

settings.register_profile('mutants', suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
settings.load_profile('mutants')

# A mutant is noticed by a test alone: IAM's evaluator is not in the copied folder, and its failure would fail each run.
recording.findings = lambda calls, whole: ([], [])
recording.decisions = lambda calls, whole: ('', [])


def pytest_sessionstart() -> None:
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] == 'chalicelib':
            _clear_caches(module)
        if name.rpartition('.')[2].startswith('test_'):
            del sys.modules[name]


def _clear_caches(module: ModuleType) -> None:
    classes = [one for one in vars(module).values() if isinstance(one, type)]
    for owner in (module, *classes):
        for one in list(vars(owner).values()):
            clear = getattr(getattr(one, '__func__', one), 'cache_clear', None)
            if clear is not None:
                clear()
