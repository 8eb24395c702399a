"""Modules whose tests share a slow fixture run in one process: those that have a mark ``xdist_group``.

pytest-xdist 3.8 adds the group to the ids of tests, which pytest 9.2 no longer keeps. Its own ``loadgroup`` distributes
such tests over all processes, and each of them creates the fixture.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import pytest

from infra.render import ROOT

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

_MARK = re.compile(r"pytest\.mark\.xdist_group\('(\w+)'\)")


@functools.cache
def group_of(module: str) -> str | None:
    """The group of a module, by its path below the root."""
    found = _MARK.search((ROOT / module).read_text(encoding='utf-8'))
    return found and found[1]


def scope_of(id: str) -> str:
    """The tests that run in the same process: those of a group, otherwise each alone."""
    return group_of(id.partition('::')[0]) or id


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> LoadScopeScheduling | None:
    if config.getvalue('dist') != 'loadgroup':
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return ByGroup(config, log)
