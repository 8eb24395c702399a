"""The deployment's policy overrides, read from their document and laid on a caller."""

from __future__ import annotations

import dataclasses
import functools
import logging

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.rules import policy_overrides
from chalicelib.rules.policy_overrides import IS_ADMIN, Overrides

logger = logging.getLogger(__name__)


def apply(context: Context) -> Context:
    """Return the caller with the policy overrides; a change of their document takes effect within a minute.

    Raises ServiceUnavailable when the document cannot be read or is not one: the defaults could allow more.
    """
    overrides = _parsed(aws.document(settings().policy_overrides))
    admin = overrides.is_admin(context) if IS_ADMIN in overrides.given else None
    return dataclasses.replace(context, overrides=overrides, admin=admin)


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> Overrides:
    try:
        return Overrides(policy_overrides.document(text))
    except (ValueError, RecursionError) as error:
        logger.error('the policy overrides are not a JSON object, so every request is refused: %s', error)
        raise errors.ServiceUnavailable(reason='the policy overrides are not a JSON object') from None
