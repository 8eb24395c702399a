"""moto's Lambda with our handlers behind ``Invoke``: for the SDK, the AWS CLI and Step Functions alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.awslambda.exceptions import UnknownFunctionException
from moto.awslambda.models import LambdaFunction
from moto.awslambda_simple import models as simple
from moto.core.base_backend import BackendDict
from moto.core.exceptions import JsonRESTError

from local.functions import MAX_ASYNC_REQUEST, MAX_REQUEST, Function, run, run_detached
from local.settings import ACCOUNT, REGION


class RequestTooLarge(JsonRESTError):
    """Lambda's answer to a payload above its limit."""

    code = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            'RequestEntityTooLargeException',
            f'Request must be smaller than {limit} bytes for the InvokeFunction operation',
        )


class LocalLambda(simple.LambdaSimpleBackend):
    """moto stores the functions that the stack creates; an invoke runs the handler in this process."""

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: dict[str, Any]
    ) -> bytes:
        function = described(self.get_function(function_name, qualifier))
        is_async = (headers or {}).get('X-Amz-Invocation-Type') == 'Event'
        payload = body.encode() if isinstance(body, str) else body or b''
        limit = MAX_ASYNC_REQUEST if is_async else MAX_REQUEST
        if len(payload) > limit:
            raise RequestTooLarge(limit)
        event = json.loads(payload or b'{}')
        if is_async:
            run_detached(function, event)
            return b''
        outcome = run(function, event)
        if outcome.error:
            response_headers['x-amz-function-error'] = outcome.error
        return outcome.payload()


def answer(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the response of Invoke to a task of a state machine, without a request of the SDK (4 ms of CPU).

    None for a call that moto must answer: it has options, is too large, or names an unknown function.
    """
    payload = parameters.get('Payload')
    if set(parameters) != {'FunctionName', 'Payload'} or not isinstance(payload, bytes) or len(payload) > MAX_REQUEST:
        return None
    try:
        function = described(simple.lambda_simple_backends[ACCOUNT][REGION].get_function(parameters['FunctionName']))
    except UnknownFunctionException:
        return None
    outcome = run(function, json.loads(payload))
    failed = {'FunctionError': outcome.error} if outcome.error else {}
    return {'StatusCode': 200, **failed, 'Payload': json.loads(outcome.payload())}


def described(function: LambdaFunction) -> Function:
    """Convert moto's function to a ``Function``."""
    return Function(
        name=function.function_name,
        arn=function.function_arn,
        handler=str(function.handler),
        timeout=int(function.timeout),
        memory=int(function.memory_size),
        environment={name: str(value) for name, value in function.environment_vars.items()},
    )


def install() -> None:
    """Make moto use ``LocalLambda``; before ``mock_aws`` starts."""
    simple.lambda_simple_backends = BackendDict(LocalLambda, 'lambda')
