"""Work that only a backend that is down keeps from being done waits for that backend, not for its next report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chalicelib import errors
from chalicelib.operations import scheduling
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.filter_scheduler import GroupDecision
from chalicelib.scheduler.pools import PoolState


def await_backend(decide: Callable[[Sequence[PoolState]], Decision | GroupDecision]) -> None:
    """Raise BackendUnavailable when a backend would do that was down at its last report, and renew that report.

    Reports come every five minutes, so a backend that answers again would stay out of use for as long. The state
    machine repeats the task, which then decides by the new report.
    """
    try:
        scheduling.await_backend(decide)
    except errors.BackendUnavailable as away:
        from chalicelib.tasks import report_pools  # no other task needs it

        report_pools.ask_again(str(away.facts['backend']))
        raise
