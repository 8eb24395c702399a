"""moto as this process's AWS: started once, each call guarded by a lock and by the fidelity layer."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import dispatch, fidelity, lambda_backend, parsing, recorder, stepfunctions
from local.calls import Answer, Call
from local.settings import ACCESS_KEY, REGION, SECRET_KEY

#: moto's interpreter runs the state machines, and functions run without a container.
CONFIG = {'stepfunctions': {'execute_state_machine': True}, 'lambda': {'use_docker': False}}

#: The SDK's environment. Without the last variable botocore calls account-specific hosts, which moto does not know.
ENVIRONMENT = {
    'AWS_REGION': REGION,
    'AWS_DEFAULT_REGION': REGION,
    'AWS_ACCESS_KEY_ID': ACCESS_KEY,
    'AWS_SECRET_ACCESS_KEY': SECRET_KEY,
    'AWS_XRAY_SDK_ENABLED': 'false',
    'AWS_EC2_METADATA_DISABLED': 'true',
    'AWS_ACCOUNT_ID_ENDPOINT_MODE': 'disabled',
}

Observer = Callable[[Call], None]

_observers: list[Observer] = []

#: Stores the changes of a call, under the lock of its service; returns an error response when that fails.
_keepers: list[Callable[[Call], Answer | None]] = []

#: Refuses a call before it is processed: returns an error response, or None.
_gates: list[Callable[[Call], Answer | None]] = []

#: URL prefixes that moto does not answer (DynamoDB Local).
_elsewhere: list[str] = []


def start(valid: Path | None = None) -> None:
    """Emulate AWS: from now on moto answers every botocore client of this process.

    ``valid`` is a file with the definitions of state machines that passed the validation.
    """
    from moto import mock_aws

    if os.environ.get('RECORD_CALLS'):
        recorder.install(Path(os.environ['RECORD_CALLS']))
    parsing.install()
    dispatch.install()
    lambda_backend.install()
    stepfunctions.install(valid)
    install_guard()
    fidelity.install_ebs()
    mock_aws(config=CONFIG).start()  # type: ignore[call-overload]  # the keys left out keep their defaults
    os.environ.update(ENVIRONMENT)  # moto puts its own credentials there


def pass_by(url: str) -> None:
    """Send calls to an endpoint over the network."""
    _elsewhere.append(url)


def on_call(observer: Observer) -> None:
    """Call ``observer`` after each call that was answered, outside its lock."""
    _observers.append(observer)


def keep(keeper: Callable[[Call], Answer | None]) -> None:
    """Call ``keeper`` after each call and before its answer, to store the changes."""
    _keepers[:] = [keeper]


def refuse(gate: Callable[[Call], Answer | None]) -> None:
    """Call ``gate`` before each call; its response, if any, is the answer."""
    _gates[:] = [gate]


def process(request: Any) -> Answer | None:
    """Answer one request (method, url, headers, body) as the SDK in this process would get it answered."""
    from moto.core.models import botocore_stubber

    answer: Answer | None = botocore_stubber.process_request(request)
    return answer


def install_guard() -> None:
    """Put the guard around moto's one entry, where both the SDK and the HTTP endpoint come through."""
    from moto.core.botocore_stubber import BotocoreStubber

    if not hasattr(BotocoreStubber, 'unguarded'):
        BotocoreStubber.unguarded = BotocoreStubber.process_request  # type: ignore[attr-defined]
        BotocoreStubber.process_request = _guarded  # type: ignore[method-assign,assignment]


def _guarded(stubber: Any, request: Any) -> Answer | None:
    if any(request.url.startswith(prefix) for prefix in _elsewhere):
        return None
    call = Call.of(request)
    answer = (
        _long_poll(stubber, request, call) if call.operation == 'ReceiveMessage' else _locked(stubber, request, call)
    )
    for observer in _observers:
        observer(call)
    return answer


_locks: dict[str, Any] = collections.defaultdict(threading.RLock)


def _lock(call: Call) -> contextlib.AbstractContextManager[Any]:
    """One call at a time per service: moto's read-modify-writes race between threads. A handler may take its time."""
    return (
        contextlib.nullcontext()
        if call.service == 'lambda' and call.path.endswith('/invocations')
        else _locks[call.service]
    )


def _locked(stubber: Any, request: Any, call: Call) -> Answer | None:
    with _lock(call):
        answer: Answer | None = next(filter(None, (gate(call) for gate in _gates)), None) or fidelity.refusal(call)
        if answer is not None:
            return answer
        answer = fidelity.instead(call) or stubber.unguarded(request)
        if answer is not None:
            fidelity.observe(call, answer)
        for keeper in _keepers:
            answer = keeper(call) or answer
    return answer


#: Seconds between two looks at a queue that is long-polled.
POLL = 0.1


def _long_poll(stubber: Any, request: Any, call: Call) -> Answer | None:
    """Poll for ReceiveMessage outside the lock: moto would hold the lock and block every sender."""
    parameters = call.json()
    deadline = time.monotonic() + int(parameters.pop('WaitTimeSeconds', 0) or 0)
    request.body = json.dumps({**parameters, 'WaitTimeSeconds': 0}).encode()
    while True:
        answer = _locked(stubber, request, call)
        if answer is None or time.monotonic() >= deadline or 'ReceiptHandle' in str(answer[2]):
            return answer
        time.sleep(POLL)
