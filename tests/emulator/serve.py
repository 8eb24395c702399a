"""Run ministack, an independent emulator of AWS: ``.venv-emulator/bin/python tests/emulator/serve.py``.

Its settings are environment variables (``tests/emulator/aws.py``). Some behaviours are corrected, which AWS documents
otherwise; docs/reference/emulator.md lists them. Raises RuntimeError for a version of ministack in which a place has
changed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from ministack.app import main
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.services import lambda_svc

#: What the emulator's program in each function's process reports of an exception, and what it has to report.
REPORTED = '"status": "error", "error": str(e), "trace": traceback.format_exc()'
WANTED = REPORTED + ', "type": type(e).__name__'

#: The name that the emulator gives to every exception of a Python function.
UNNAMED = 'Runtime.HandlerError'

_seen = threading.local()


def name_errors() -> None:
    """Report exceptions as Lambda does: the class's name as ``errorType``. State machines retry and catch by it."""
    if lambda_runtime._PYTHON_WORKER_SCRIPT.count(REPORTED) != 1:
        raise RuntimeError('this version of ministack reports errors of functions in another way: see WANTED')
    lambda_runtime._PYTHON_WORKER_SCRIPT = lambda_runtime._PYTHON_WORKER_SCRIPT.replace(REPORTED, WANTED)

    def remember(invoke: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        _seen.response = invoke(*arguments, **options)
        return _seen.response

    def name(execute: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        _seen.response = {}
        result = execute(*arguments, **options)
        found, body = _seen.response.get('type'), result.get('body')
        if found and result.get('error') and body.get('errorType') == UNNAMED:
            result['body'] = {**body, 'errorType': found, 'stackTrace': _seen.response['trace'].splitlines()}
        return result

    wrap(lambda_runtime.Worker, 'invoke', remember)
    wrap(lambda_svc, '_execute_function_warm', name)


def read_numbers() -> None:
    """Read a queue's concurrency as a number: ``Ref`` of a parameter is text, and CloudFormation converts it."""

    def convert(limit: Callable[..., int], mapping: dict[str, Any], *arguments: Any) -> int:
        scaling = mapping.get('ScalingConfig') or {}
        numbers = {key: int(value) for key, value in scaling.items()}
        return limit({**mapping, 'ScalingConfig': numbers}, *arguments)

    wrap(lambda_svc, '_sqs_esm_concurrency', convert)


def show_encryption_contexts() -> None:
    """Let IAM decide by a call's encryption context: KMS has the condition keys ``kms:EncryptionContext:<name>``."""

    def add(tags: Callable[..., dict[str, Any]], service: str, action: str, body: bytes, *arguments: Any) -> Any:
        found = tags(service, action, body, *arguments)
        if service != 'kms' or not body:
            return found
        context = json.loads(body).get('EncryptionContext') or {}
        return {**found, **{f'kms:EncryptionContext:{name}': value for name, value in context.items()}}

    wrap(iam_actions, 'request_tag_context', add)


def leave_ec2_out() -> None:
    """Decide no call of EC2: the emulator's IAM knows neither the objects nor the tags of EC2's permissions.

    tests/iam decides them.
    """

    def decide(
        enforce: Callable[..., Any], key: str, action: str, service: str, *arguments: Any, **options: Any
    ) -> Any:
        return None if service == 'ec2' else enforce(key, action, service, *arguments, **options)

    wrap(iam_evaluator, 'enforce', decide)


def wrap(place: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function by one that is given it first."""
    inner = getattr(place, name, None)
    if inner is None:
        raise RuntimeError(f'this version of ministack has no {name}')
    setattr(place, name, lambda *arguments, **options: around(inner, *arguments, **options))


if __name__ == '__main__':
    name_errors()
    read_numbers()
    show_encryption_contexts()
    leave_ec2_out()
    main()
