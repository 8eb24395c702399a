"""Executions of state machines: how they are named, started and found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.rules.workflows import WORKFLOWS, StateMachine

#: What a message, and so an execution's input, must hold.
KEYS = ('action', 'resource', 'project_id', 'id', 'request_id')

#: What a message may have besides: the keys of records to read with the first one (models/reading.py).
RELATED = 'related'


def machine_of(message: Mapping[str, Any]) -> StateMachine:
    """Return the state machine of a message's action; raises KeyError for a message that makes no sense."""
    machine = WORKFLOWS[message['resource']][message['action']].machine
    if machine is None:
        raise KeyError(f'no state machine runs {message["action"]} of a {message["resource"]}')
    return machine


def worker_of(machine: StateMachine) -> str:
    """Return the name of the function that runs a state machine's tasks."""
    return settings().backup_worker if machine.worker == 'backup_worker' else settings().volume_worker


def name(message: Mapping[str, Any], attempt: int = 0) -> str:
    """Return the name of one run of a message's work; a later attempt gets another name, as names stay taken."""
    request = message['request_id'] if attempt == 0 else f'{message["request_id"]}/{attempt}'
    return aws.execution_name(message['action'], message['id'], request)


def start(message: Mapping[str, Any], attempt: int = 0) -> str:
    """Start the state machine of a message, or find it started; return the execution's ARN."""
    execution = name(message, attempt)
    related = {RELATED: message[RELATED]} if RELATED in message else {}
    payload = {**{key: message[key] for key in KEYS}, **related, 'execution': execution}
    return aws.start_workflow(machine_of(message).name, execution, payload)


def status(message: Mapping[str, Any], attempt: int = 0) -> str | None:
    """Return the status of one run of a message's work; None when it was never started."""
    return aws.execution_status(aws.execution_arn(machine_of(message).name, name(message, attempt)))
