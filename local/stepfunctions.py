"""moto's Step Functions interpreter with caches, and a callback for every execution that ends.

AWS parses a state machine once and keeps its connections; moto parses definition and paths per execution and creates a
client per task (86 ms of CPU for three tasks; 17 ms with the caches). No cache holds state of an execution. Each patch
names the attribute that it replaces, and ``tests/unit/local/test_stepfunctions.py`` fails when moto moves it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.stepfunctions.parser import utils
from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.error_equals_decl import ErrorEqualsDecl
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent, FailureEventException
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import StatesErrorNameType
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.parser.models import StepFunctionsParserBackend

from local import lambda_backend

#: Step Functions' limit for a state's input or output, in bytes of UTF-8.
MAX_PAYLOAD = 262_144

#: Errors that States.ALL does not mean.
UNCAUGHT = {'States.DataLimitExceeded', 'States.Runtime'}

#: Size of the caches of parsed paths and state machines.
KEPT = 4096

Listener = Callable[[dict[str, Any]], None]

_listeners: list[Listener] = []


def install(valid: Path | None = None) -> None:
    """Patch moto once; a second call changes nothing. ``valid`` is a file that remembers definitions without errors."""
    if isinstance(vars(json_path)['parse'], functools._lru_cache_wrapper):
        return
    if valid is not None:
        _validate_once(valid)
    for module in (json_path, result_path):
        _replace(module, 'parse', functools.lru_cache(KEPT))
    _replace(AmazonStateLanguageParser, 'parse', lambda parse: staticmethod(functools.lru_cache(KEPT)(parse)))
    _keep_clients()
    _invoke_in_process()
    _check_results()
    _spare_the_uncatchable()
    _report_ends()


def _replace(owner: Any, name: str, around: Callable[[Any], Any]) -> None:
    """Replace an attribute by ``around(attribute)``. Raises AttributeError when moto has moved it."""
    setattr(owner, name, around(getattr(owner, name)))


def _validate_once(valid: Path) -> None:
    """A definition is parsed when it is first executed; that it has no error need not be found out at every boot."""
    known = set(valid.read_text().split()) if valid.exists() else set()

    def around(original: Callable[[str], None]) -> Any:
        def validate(definition: str) -> None:
            digest = hashlib.sha256(definition.encode()).hexdigest()
            if digest in known:
                return
            original(definition)
            known.add(digest)
            with contextlib.suppress(PermissionError):  # in a source tree of another user
                unfinished = valid.with_suffix(f'.{os.getpid()}')
                unfinished.write_text('\n'.join(sorted(known)))
                unfinished.replace(valid)

        return staticmethod(validate)

    _replace(StepFunctionsParserBackend, '_validate_definition', around)


def _keep_clients() -> None:
    """Cache one client per service: moto creates one per task, under each name it was imported by."""
    original = boto_client.boto_client_for
    kept = functools.cache(lambda region, service: original(region, service))

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return kept(region, service)

    for module in [module for name, module in sys.modules.items() if name.startswith('moto.stepfunctions.')]:
        if getattr(module, 'boto_client_for', None) is original:
            _replace(module, 'boto_client_for', lambda _: boto_client_for)


def _invoke_in_process() -> None:
    """Run a task's function directly: the SDK and moto would make an HTTP request of it, and read that again."""

    def around(original: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        def invoke(parameters: dict[str, Any], region: str, state_credentials: Any) -> dict[str, Any]:
            answer = lambda_backend.answer(parameters)
            return original(parameters, region, state_credentials) if answer is None else answer

        return invoke

    _replace(lambda_eval_utils, '_invoke_lambda_function', around)


def _check_results() -> None:
    """A task's result above the limit fails the state, as on AWS; moto carries any size."""

    def around(original: Callable[..., None]) -> Callable[..., None]:
        def execute(env: Any, **facts: Any) -> None:
            original(env=env, **facts)
            size = len(json.dumps(env.stack[-1], separators=(',', ':'), ensure_ascii=False).encode())
            if size > MAX_PAYLOAD:
                raise _too_large(env, size)

        return execute

    _replace(lambda_eval_utils, 'execute_lambda_function_integration', around)


def _too_large(env: Any, size: int) -> FailureEventException:
    name = StatesErrorName(typ=StatesErrorNameType.StatesStatesDataLimitExceeded)
    cause = f'The result has {size} bytes, above the limit of {MAX_PAYLOAD}'
    details = TaskFailedEventDetails(error=name.error_name, cause=cause, resource='invoke', resourceType='lambda')
    event = FailureEvent(
        env=env,
        error_name=name,
        event_type=HistoryEventType.TaskFailed,
        event_details=EventDetails(taskFailedEventDetails=details),  # type: ignore[typeddict-item]  # moto's is total
    )
    return FailureEventException(failure_event=event)


def _spare_the_uncatchable() -> None:
    """States.ALL and States.TaskFailed catch all but two errors on AWS, and those two as well in moto."""

    def around(original: Callable[..., None]) -> Callable[..., None]:
        def eval_body(self: ErrorEqualsDecl, env: Any) -> None:
            name = str(env.stack[-1].error_name)
            if name not in UNCAUGHT:
                return original(self, env)
            env.stack[-1] = name in [str(error.error_name) for error in self.error_names]
            return None

        return eval_body

    _replace(ErrorEqualsDecl, '_eval_body', around)


def _report_ends() -> None:
    """moto sends no status change events, and keeps every thread that it ever started."""

    def around(original: Callable[..., None]) -> Callable[..., None]:
        def terminated(self: BaseExecutionWorkerCommunication) -> None:
            original(self)
            utils.TMP_THREADS[:] = [thread for thread in utils.TMP_THREADS if thread.is_alive()]
            event = detail(self.execution)
            for listener in _listeners:
                listener(event)

        return terminated

    _replace(BaseExecutionWorkerCommunication, 'terminated', around)


def on_end(listener: Listener) -> None:
    """Call ``listener`` with the ``detail`` of a status change event whenever an execution ends, in its thread."""
    _listeners.append(listener)


def detail(execution: Execution) -> dict[str, Any]:
    """The ``detail`` of EventBridge's "Step Functions Execution Status Change"; times in milliseconds."""
    output = json.dumps(execution.output) if execution.output is not None else None
    return {
        'executionArn': execution.exec_arn,
        'stateMachineArn': execution.state_machine.arn,
        'name': execution.name,
        'status': execution.status,
        'startDate': _millis(execution.start_date),
        'stopDate': _millis(execution.stop_date),
        'input': json.dumps(execution.input_data),
        'output': output,
        'error': execution.error,
        'cause': execution.cause,
    }


def _millis(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
