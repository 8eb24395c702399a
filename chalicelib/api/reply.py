"""Responses: JSON, or an empty body (for None Chalice would send the word ``null``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalice.app import Response


def reply(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a JSON body, or an empty one for None."""
    return reply_text(status, '' if body is None else json.dumps(body), headers)


def reply_text(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response whose JSON is written already."""
    return Response(text, {'Content-Type': 'application/json', **(headers or {})}, status)
