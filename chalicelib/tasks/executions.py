"""Executions of state machines: how they are started and found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.rules.executions import machine_of, run_name
from chalicelib.rules.workflows import StateMachine

#: What a message, and so an execution's input, must hold.
KEYS = ('action', 'resource', 'project_id', 'id', 'request_id')

#: What a message may have besides: the keys of records to read with the first one (models/reading.py).
RELATED = 'related'


def worker_of(machine: StateMachine) -> str:
    """Return the name of the function that runs a state machine's tasks."""
    return settings().backup_worker if machine.worker == 'backup_worker' else settings().volume_worker


def start(message: Mapping[str, Any], attempt: int = 0) -> str:
    """Start the state machine of a message, or find it started; return the execution's ARN."""
    execution = run_name(message, attempt)
    related = {RELATED: message[RELATED]} if RELATED in message else {}
    payload = {**{key: message[key] for key in KEYS}, **related, 'execution': execution}
    return aws.start_workflow(machine_of(message).name, execution, payload)


def status(message: Mapping[str, Any], attempt: int = 0) -> str | None:
    """Return the status of one run of a message's work; None when it was never started."""
    return aws.execution_status(aws.execution_arn(machine_of(message).name, run_name(message, attempt)))
