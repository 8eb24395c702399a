"""Rate limits of projects: a token bucket for each, shared by all function instances (docs/decisions/0053).

A bucket is one number, ``full_at``: the time at which it is full again. Taking tokens moves it into the future by their
refill time, in one conditional write without a read; the bucket is empty when ``full_at`` is the refill time of the
whole bucket ahead. An instance that uses its tokens fast takes more at once, up to those of a second, so a busy project
costs few writes. Tokens that an instance does not use within ``LEASE`` seconds are lost: the limit is never exceeded.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import SERVICE_ROLE, Context
from chalicelib.models import Quota, base

#: Seconds for which an instance may use the tokens that it took, and in which it must use them to take more at once.
LEASE, FAST = 10.0, 1.0

#: Range key of a bucket, beside the project's quota.
BUCKET = 'rate'

#: Projects whose tokens an instance holds.
MOST_PROJECTS = 1000

#: Microseconds of a second: ``full_at`` is a whole number, for DynamoDB adds it up.
_MICRO = 1_000_000


@dataclasses.dataclass(slots=True)
class _Tokens:
    """The tokens that this process holds for a project. Times are seconds since the epoch."""

    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)
    left: int = 0
    #: When they were taken, and how many.
    taken_at: float = 0.0
    taken: int = 0
    #: Until then the bucket has no token, so no request needs to look.
    empty_until: float = 0.0


_held: dict[str, _Tokens] = {}

#: ``full_at`` of each project's bucket when this process wrote it last: whether the next write finds it full.
_last_full_at: dict[str, int] = {}


def forget() -> None:
    """Hold no tokens, as a new process."""
    _held.clear()
    _last_full_at.clear()


def admit(context: Context) -> None:
    """Take a token of the caller's project; raises RateLimited when there is none.

    Requests of services are not limited: Nova would stop half-way through an attachment.
    """
    if not settings().project_rate_limit or SERVICE_ROLE in context.roles | context.service_roles:
        return
    if len(_held) > MOST_PROJECTS:
        forget()
    tokens = _held.setdefault(context.project_id, _Tokens())
    with tokens.lock:
        now = time.time()
        if tokens.left and now - tokens.taken_at < LEASE:
            tokens.left -= 1
            return
        if now < tokens.empty_until:
            raise _limited(tokens.empty_until - now)
        _refill(tokens, context.project_id, now)
        tokens.left -= 1


def remaining(project_id: str) -> tuple[int, float]:
    """Return the tokens in a project's bucket, and the time at which it has one (seconds since the epoch)."""
    full_at, now = _full_at(project_id), time.time()
    left = math.floor(_burst() - max(0.0, full_at - now) * _per_second())
    return max(0, left), max(now, full_at - (_burst() - 1) / _per_second())


def _per_second() -> float:
    return settings().project_rate_limit / 60


def _burst() -> int:
    return max(1, settings().project_burst_limit)


def _refill(tokens: _Tokens, project_id: str, now: float) -> None:
    """Take tokens from the bucket: twice as many as last time if those were used fast, else one."""
    was_fast = tokens.left == 0 and now - tokens.taken_at < FAST
    most = max(1, min(_burst() // 2, int(_per_second())))
    wanted = min(most, 2 * tokens.taken) if was_fast else 1
    taken = next((number for number in dict.fromkeys((wanted, 1)) if _take(project_id, number, now)), 0)
    if not taken:
        _, tokens.empty_until = remaining(project_id)
        tokens.left = tokens.taken = 0
        raise _limited(tokens.empty_until - now)
    tokens.left = tokens.taken = taken
    tokens.taken_at = now


def _take(project_id: str, number: int, now: float) -> bool:
    """Take tokens from a full bucket, or from one that is refilling and has them; the likelier one first."""
    full_at = Quota.full_at
    cost = math.ceil(number / _per_second() * _MICRO)
    current, latest = int(now * _MICRO), int((now + _burst() / _per_second()) * _MICRO) - cost
    refilling = [full_at.add(cost)], (full_at >= current) & (full_at <= latest)
    full = [full_at.set(current + cost)], full_at.does_not_exist() | (full_at < current)
    attempts = (refilling, full) if _last_full_at.get(project_id, 0) >= current else (full, refilling)
    return any(_written(project_id, *attempt) for attempt in attempts)


def _written(project_id: str, actions: list[Action], condition: Condition) -> bool:
    bucket = Quota(project_id, BUCKET)
    common = [
        Quota.created_at.set(base.now()),
        Quota.schema_version.set(base.SCHEMA_VERSION),
        *base.touched(Quota),
    ]
    try:
        base.write(bucket, [*actions, *common], condition)
    except base.moved_on(Quota):
        return False
    _last_full_at[project_id] = int(bucket.full_at or 0)
    return True


def _full_at(project_id: str) -> float:
    bucket = Quota.find_or_none(project_id, BUCKET)
    return (bucket.full_at or 0) / _MICRO if bucket else 0.0


def _limited(seconds: float) -> errors.RateLimited:
    limits = settings()
    return errors.RateLimited(limit=limits.project_rate_limit, burst=_burst(), seconds=max(1, math.ceil(seconds)))
