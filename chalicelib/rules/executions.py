"""The names of executions: which state machine runs a message's work, and what its runs are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from chalicelib.rules.workflows import WORKFLOWS, StateMachine


def machine_of(message: Mapping[str, Any]) -> StateMachine:
    """Return the state machine of a message's action; raises KeyError for a message that makes no sense."""
    machine = WORKFLOWS[message['resource']][message['action']].machine
    if machine is None:
        raise KeyError(f'no state machine runs {message["action"]} of a {message["resource"]}')
    return machine


def run_name(message: Mapping[str, Any], attempt: int = 0) -> str:
    """Return the name of one run of a message's work; a later attempt gets another name, as names stay taken."""
    request = message['request_id'] if attempt == 0 else f'{message["request_id"]}/{attempt}'
    return execution_name(message['action'], message['id'], request)


def execution_name(action: str, resource_id: str, request: str) -> str:
    """Name one run so that a redelivered message starts nothing twice.

    ``<action, 12>-<resource, 32 hex>-<request, 32 hex>``: names have at most 80 characters and stay used for 90 days.
    """
    return f'{action[:12]}-{_hex(resource_id)}-{_hex(request)}'


def _hex(text: str) -> str:
    """Return 32 hex digits for an id: its own if it is a (req-)uuid, else a digest."""
    digits = text.removeprefix('req-').replace('-', '').lower()
    if len(digits) == 32 and all(digit in '0123456789abcdef' for digit in digits):
        return digits
    return hashlib.sha256(text.encode()).hexdigest()[:32]
