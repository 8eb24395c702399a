"""Calls that wait for others, made several at a time until one shared deadline."""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

logger = logging.getLogger(__name__)

#: Calls at a time. Each occupies a worker, and a new AWS account has ten concurrent executions for all functions.
WIDTH = 4


def each(work: Callable[[str], None], members: Iterable[str], until: float) -> None:
    """Call ``work`` with each member, and return when all calls have ended.

    ``until``: seconds of the monotonic clock after which no call begins. The calls see the caller's context variables.
    Raises the first error that ``work`` raised, after the last call.
    """

    def timely(member: str) -> None:
        if time.monotonic() < until:
            work(member)
        else:
            logger.warning('no time is left for %s: the next run begins with others', member)

    with ThreadPoolExecutor(WIDTH, thread_name_prefix='side by side') as threads:
        calls = [threads.submit(contextvars.copy_context().run, timely, member) for member in members]
    for call in calls:
        call.result()
