"""pytest's part in the test of the roles: every run records, its end compares.

A call that a role does not allow fails any run, and so does a call that an independent evaluator of IAM policies
denies with its resource and conditions, or allows about another deployment's resources (tests/iam/recorded.py). A
complete run whose tests passed reports permissions that no call needed, for only such a run has made every call. They
fail no run, since a call that depends on concurrent requests may be missing from one run: the source decides whether a
permission may stay (tests/call_graph.py).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from local import callers, recorder
from tests import permissions
from tests.iam import recorded as iam

#: Names the folder for the records of pytest workers and of the local clouds that tests start.
VARIABLE = 'RECORD_CALLS'

#: The lines to print at the end.
FOUND = pytest.StashKey[list[str]]()
COUNTS = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):
        folder = permissions.RECORDS.with_name(f'calls-{os.getpid()}')
        os.environ[VARIABLE] = str(folder)
    callers.OTHERS.update(('tests/data_backends.py', 'tests/fake_driver.py'))
    recorder.install(Path(os.environ[VARIABLE]), everything=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if hasattr(session.config, 'workerinput'):
        return
    calls = permissions.recorded(Path(os.environ[VARIABLE]))
    whole = _is_whole(session, exitstatus)
    missing, unused = findings(calls, whole=whole)
    counts, wrong = decisions(calls, whole=whole)
    _keep(Path(os.environ[VARIABLE]), calls)
    session.config.stash[COUNTS] = counts
    session.config.stash[FOUND] = [*missing, *wrong, *unused]
    if missing or wrong:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the findings below pytest's own output, at the end of the log."""
    if counts := config.stash.get(COUNTS, ''):
        print(counts)
    if found := config.stash.get(FOUND, []):
        print(*found, permissions.ADVICE, sep='\n')


def findings(calls: set[permissions.Call], whole: bool) -> tuple[list[str], list[str]]:
    """Return the calls that are not allowed and the permissions without calls, a line each."""
    if not calls:
        return [], []
    template = permissions.template()
    missing = permissions.missing(calls, permissions.allowed(template, at_most=True))
    return missing, permissions.unused(calls, permissions.allowed(template)) if whole else []


def decisions(calls: set[permissions.Call], whole: bool) -> tuple[str, list[str]]:
    """Return the evaluator's counts, and a line for each decision that is not as it should be."""
    if not calls:
        return '', []
    result = iam.check(permissions.template(), calls, whole=whole)
    unknown = f', {result.unknown} about unknown objects not decided' if result.unknown else ''
    counts = f"IAM: {result.allowed} calls allowed, {result.denied} about others' resources denied{unknown}"
    return counts, result.wrong


def _keep(folder: Path, calls: set[permissions.Call]) -> None:
    """Keep the recorded calls for ``make access``; of two runs that end at once, one keeps its calls."""
    if calls:
        shutil.rmtree(permissions.RECORDS, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rename(permissions.RECORDS)
    shutil.rmtree(folder, ignore_errors=True)


def _is_whole(session: pytest.Session, exitstatus: int) -> bool:
    """Whether this was every test, and each passed."""
    config, option = session.config, session.config.option
    chosen = (option.keyword, option.markexpr, option.deselect, getattr(option, 'lf', False))
    return exitstatus == 0 and config.args_source is pytest.Config.ArgsSource.TESTPATHS and not any(chosen)


def asking_in_a_thread(found: list[tuple[str, ...]]) -> Callable[[object], None]:
    """Return a task that records the callers of its own thread. Not in a test file: those have no caller."""

    def task(payload: object) -> None:
        thread = threading.Thread(target=lambda: found.append(callers.callers()))
        thread.start()
        thread.join()

    return task
