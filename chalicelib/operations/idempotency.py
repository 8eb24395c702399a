"""Idempotency keys: a client's repeated POST is answered as the first one was, and its work is done once.

A key is held by one request at a time, until the gateway has ended that request. The write that accepts the work marks
the key (models/claims.py). A request that finds the key

* answered returns that answer;
* held waits briefly, and then raises IdempotencyKeyInUse;
* free and marked completes the answer of the work that was accepted;
* free and not marked serves the request from the start: nothing was accepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chalicelib import aws, errors, time_left
from chalicelib.context import Context
from chalicelib.models import IdempotencyKey, base, claims

logger = logging.getLogger(__name__)

#: Seconds that a key is kept, from its first request.
LIFETIME = 24 * 3600

#: Longest pauses in seconds between looks at a key that another request holds.
PAUSES = (0.0, 0.2, 0.4, 0.8, 1.2)

#: Most seconds that a client waits before it repeats a request whose first one is being served.
RETRY_AFTER = 5

#: Bytes of the largest answer that is stored, and of one that is sealed; a larger one is completed from the records
#: instead. An item of DynamoDB has at most 400 KB.
MAX_BODY, MAX_SEALED = 128 * 1024, 32 * 1024

#: Bytes that one call of KMS encrypts.
SEALED_PART = 4096


class Asked(NamedTuple):
    """A request as its key knows it."""

    key: str
    #: The path without the project's id, and with the ids of resources.
    path: str
    #: Digest of everything else that the answer depends on.
    fingerprint: str


class Answer(NamedTuple):
    """An HTTP answer. ``is_secret``: its body is stored sealed."""

    code: int
    headers: Mapping[str, str]
    body: str
    is_secret: bool = False


def take(context: Context, asked: Asked) -> IdempotencyKey:
    """Return the key's record: with the answer (``code``) of the first request, else held by this request.

    Raises IdempotencyKeyReused for another request under the same key, IdempotencyKeyInUse while the first one is
    being served, ServiceUnavailable.
    """
    wanted = _record(context, asked)
    for pause in PAUSES:
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter, no secret
        found = _take(wanted)
        if found is not None:
            return found
    left = wanted.busy_until - time.time()
    raise errors.IdempotencyKeyInUse(seconds=max(1, min(RETRY_AFTER, math.ceil(left))))


def _record(context: Context, asked: Asked) -> IdempotencyKey:
    scope = '\0'.join((context.user_id, 'POST', asked.path, asked.key))
    return IdempotencyKey(
        context.project_id,
        hashlib.sha256(scope.encode()).hexdigest(),
        created_at=base.now(),
        fingerprint=asked.fingerprint,
        holder=context.request_id,
        busy_until=_busy_until(),
        expires=int(time.time()) + LIFETIME,
    )


def _busy_until() -> int:
    """When the gateway has ended this request, and its client may repeat it."""
    return math.ceil(time.time() + time_left.at_most(time_left.GATEWAY) + time_left.MARGIN)


def _take(wanted: IdempotencyKey) -> IdempotencyKey | None:
    """One look at the key; None when another request holds it."""
    now = int(time.time())
    free = IdempotencyKey.id.does_not_exist() | (IdempotencyKey.expires <= now)
    with contextlib.suppress(*base.moved_on(IdempotencyKey)):
        base.put(wanted, free)
        return wanted
    found = IdempotencyKey.find_or_none(wanted.project_id, wanted.id)
    if found is None or found.expires <= now:
        return None
    if found.fingerprint != wanted.fingerprint:
        raise errors.IdempotencyKeyReused
    if found.code is not None or _take_over(found, wanted, now):
        return found
    return None


def _take_over(found: IdempotencyKey, wanted: IdempotencyKey, now: int) -> bool:
    """Take over a key whose holder gave no answer in time; return False if another request was first."""
    if found.busy_until > now:
        return False
    actions = [
        IdempotencyKey.holder.set(wanted.holder),
        IdempotencyKey.busy_until.set(_busy_until()),
        *base.touched(IdempotencyKey),
    ]
    same = (IdempotencyKey.holder == found.holder) & IdempotencyKey.code.does_not_exist()
    with contextlib.suppress(*base.moved_on(IdempotencyKey)):
        base.update(found, actions, same & (IdempotencyKey.busy_until == found.busy_until))
        return True
    return False


def store(claim: claims.Claim, answer: Answer) -> None:
    """Keep the answer for the next request with the key; one that cannot be stored is completed by that request."""
    if len(answer.body.encode()) > (MAX_SEALED if answer.is_secret else MAX_BODY):
        release(claim)
        return
    with _tolerating(claim):
        body = (
            IdempotencyKey.sealed.set(_sealed(claim.record, answer.body))
            if answer.is_secret
            else IdempotencyKey.body.set(answer.body)
        )
        status = IdempotencyKey.code.set(answer.code)
        _change(claim, [status, IdempotencyKey.headers.set(dict(answer.headers)), body, IdempotencyKey.kept.remove()])


def release(claim: claims.Claim) -> None:
    """Let the next request with the key be served at once: this one had no final answer."""
    with _tolerating(claim):
        _change(claim, [IdempotencyKey.busy_until.set(0)])


def forget(claim: claims.Claim) -> None:
    """Forget the key of a request that was refused before any work was accepted."""
    record = claim.record
    held = (IdempotencyKey.holder == record.holder) & IdempotencyKey.begun.does_not_exist()
    with _tolerating(claim), base.Transaction() as transaction:
        transaction.delete(record, held)


def undo() -> None:
    """Clear the ``begun`` mark of a key whose work was undone: the next request with the key runs from the start."""
    claim = claims.current()
    if claim is not None and claim.begun is not None:
        _change(claim, [IdempotencyKey.begun.remove(), IdempotencyKey.kept.remove()])
        claim.begun = claim.kept = None


def _change(claim: claims.Claim, actions: list[Any]) -> None:
    with claims.in_force(None):
        base.update(
            claim.record,
            [*actions, *base.touched(IdempotencyKey)],
            IdempotencyKey.holder == claim.record.holder,
        )


@contextlib.contextmanager
def _tolerating(claim: claims.Claim) -> Iterator[None]:
    """The request was answered: what is not noted now, the next request with the key finds by the mark."""
    try:
        yield
    except (errors.StateChanged, errors.IdempotencyKeyNotFound, errors.ServiceUnavailable, errors.AwsRefused) as error:
        logger.warning('the answer to key %s is not stored: %s', claim.record.id, error.message)


def answer_of(record: IdempotencyKey) -> Answer:
    """Return the stored answer."""
    body = record.body or ''.join(
        aws.unseal(part, f'{purpose(record)}/{number}') for number, part in enumerate(record.sealed or ())
    )
    return Answer(int(record.code), record.headers or {}, body)


def _sealed(record: IdempotencyKey, body: str) -> list[str]:
    parts = [body[start : start + SEALED_PART] for start in range(0, len(body), SEALED_PART)]  # JSON, hence ASCII
    return [aws.seal(part, f'{purpose(record)}/{number}') for number, part in enumerate(parts)]


def purpose(record: IdempotencyKey) -> str:
    """What secrets of a key's record are sealed for: a record copied to another key does not open."""
    return f'idempotency/{record.id}'


def keep_secret(value: str) -> None:
    """Store a secret with the deciding write, sealed; nothing happens without a key."""
    claim = claims.current()
    if claim is not None and claim.begun is None:
        claims.keep(aws.seal(value, f'{purpose(claim.record)}/kept'))


def kept_secret() -> str:
    """Return what ``keep_secret`` stored for the work that was accepted."""
    claim = claims.current()
    if claim is None or claim.record.kept is None:
        raise errors.CinderlessError
    return aws.unseal(claim.record.kept, f'{purpose(claim.record)}/kept')


def keep(**facts: Any) -> None:
    """Store facts (JSON) with the deciding write; nothing happens without a key."""
    claims.keep(json.dumps(facts))


def kept() -> dict[str, Any] | None:
    """Return the facts of the work that an earlier request had accepted; None when the work is to be done now."""
    claim = claims.current()
    if claim is None or claim.begun is None:
        return None
    facts: dict[str, Any] = json.loads(claim.record.kept or '{}')
    return facts
