"""Run every check, print the failures, and count."""

from __future__ import annotations

import collections
import os
import re
import sys
import traceback

import pytest

from tests.api.front_door import FrontDoor, Worker
from tests.api.memory import cloud_in_memory, empty
from tests.conformance import entries, responses, roles, statuses, vectors
from tests.conformance.facts import Check
from tests.conformance.images import AnyImages

#: A page's size in here, so that a full page needs no thousand records; the facts have 1,000.
PAGE = 10


def main() -> int:
    only = re.compile(os.environ.get('ONLY', ''))
    tally: collections.Counter[tuple[str, bool]] = collections.Counter()
    with cloud_in_memory(OSAPI_MAX_LIMIT=str(PAGE)), pytest.MonkeyPatch.context() as patch:
        from chalicelib import aws
        from chalicelib.operations import cloud

        patch.setattr(aws, 'invoke', Worker().invoke)
        patch.setattr(cloud, 'images', AnyImages)
        door = FrontDoor.open(patch)
        suites = (entries.checks(door), vectors.checks(door, PAGE), roles.checks(door), responses.checks(door),
                  statuses.checks(door))  # fmt: skip
        for check in (check for suite in suites for check in suite):
            if only.search(check[0]):
                tally[check[0].split()[0], _passes(check)] += 1
    return _report(tally)


def _passes(check: Check) -> bool:
    name, wrong = check
    try:
        complaint = wrong()
    except Exception:
        complaint = traceback.format_exc(limit=-3)
    empty()
    if complaint is not None:
        print(f'FAILED {name}: {complaint}')
    return complaint is None


def _report(tally: collections.Counter[tuple[str, bool]]) -> int:
    for kind in dict.fromkeys(kind for kind, _ in tally):
        print(f'{kind}: {tally[kind, True]} of {tally[kind, True] + tally[kind, False]}')
    passed = sum(count for (_, good), count in tally.items() if good)
    failed = sum(count for (_, good), count in tally.items() if not good)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
