"""``python -m tests.soak.server``: a local cloud whose functions meet faults at AWS and at the storage agent.

``SOAK_RATE`` is the share of calls with a fault, ``SOAK_SEED`` their seed, ``SOAK_LOG`` a file that receives one line
of JSON for each fault, and for each metric that a function counts. SIGUSR1 ends the faults. ``SOAK_SYSTEMS`` has what
systems.py adds to the cloud: backends, secrets by name, and URLs of services that moto does not play.
"""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber
from urllib3.exceptions import ProtocolError

from chalicelib import aws, bounded_http, telemetry
from local import backends, stack, storage
from local.http import Request
from tests.flaky import refusal

#: A function that ends in the middle of its work: Lambda reports it under this name (infra/retries.py).
Died = type('Runtime.ExitError', (BaseException,), {})

#: Seconds of an answer that comes late.
LATE = 3

#: Shares of the faults of AWS's calls. A kind names what happens, and whether the call was carried out before it.
AWS_FAULTS: Mapping[str, int] = {
    'no connection': 3, 'throttled': 4, 'error before': 2, 'died before': 1,
    'late': 2, 'answer lost': 4, 'error after': 2, 'died after': 1,
}  # fmt: skip

#: The same of calls to a storage system, Glance and Nova.
SENDER_FAULTS: Mapping[str, int] = {'no connection': 3, 'late': 2, 'answer lost': 3, 'died before': 1, 'died after': 1}

#: Status and code of an error that AWS answers.
_ERRORS = {
    'throttled': (400, 'ThrottlingException'),
    'error before': (500, 'InternalServerError'),
    'error after': (500, 'InternalServerError'),
}


class Faults:
    """Draws a fault for some calls of the functions, and logs it."""

    def __init__(self, rate: float, seed: str, log: Path) -> None:
        self.rate = rate
        self._draw = random.Random(seed)
        self._log, self._lock = log, threading.Lock()

    def choose(self, hop: str, kinds: Mapping[str, int]) -> str | None:
        """Return the fault of this call; None for most, and for calls of the local cloud's own threads."""
        if not _is_function():
            return None
        with self._lock:
            if self._draw.random() >= self.rate:
                return None
            (kind,) = self._draw.choices(list(kinds), list(kinds.values()))
        self.note('fault', f'{hop}: {kind}')
        return kind

    def note(self, what: str, name: str) -> None:
        with self._lock, self._log.open('a', encoding='utf-8') as log:
            log.write(json.dumps({what: name}) + '\n')


def _is_function() -> bool:
    """Whether this thread runs a function, or was started by one: the local cloud names its own threads."""
    name = threading.current_thread().name
    return name.startswith(('cinderless-', 'ThreadPoolExecutor', 'side by side'))


def install(faults: Faults) -> None:
    """Put the faults between the functions and all that they call; log what the functions count."""
    aws.session().get_component('event_emitter').register_first('before-send', _before_send(faults))
    _wrap_senders(faults)
    counted = telemetry.count

    def count(name: str, value: float = 1, unit: str = 'Count', **facts: Any) -> None:
        faults.note('metric', ' '.join([name, *(fact for fact in facts.values() if isinstance(fact, str))]))
        counted(name, value, unit, **facts)

    telemetry.count = count


def _before_send(faults: Faults) -> Callable[..., Any]:
    def before_send(request: Any, event_name: str, **_: Any) -> Any:
        service = event_name.split('.')[1]
        kind = faults.choose(service, AWS_FAULTS)
        if kind is None:
            return None
        if kind == 'no connection':
            raise ConnectionClosedError(endpoint_url=request.url)
        if kind == 'died before':
            raise Died('killed')
        if kind in ('throttled', 'error before'):
            return _error(request, kind)
        answer = botocore_stubber(event_name, request) or URLLib3Session().send(request)
        if kind == 'answer lost':
            raise ReadTimeoutError(endpoint_url=request.url)
        if kind == 'died after':
            raise Died('killed')
        if kind == 'late':
            time.sleep(LATE)
            return answer
        return _error(request, kind)

    return before_send


def _error(request: Any, kind: str) -> AWSResponse:
    headers = [(str(name), _text(value)) for name, value in request.headers.items()]
    answer = refusal(Request(request.method, '/', '', headers, b'', '127.0.0.1'), *_ERRORS[kind])
    return AWSResponse(request.url, answer.status, HeadersDict(answer.headers), MockRawResponse(answer.body))


def _text(value: Any) -> str:
    return value.decode('latin-1') if isinstance(value, bytes) else str(value)


def _wrap_senders(faults: Faults) -> None:
    """Put the faults between the functions and the agent, ONTAP, Glance and Nova."""
    send = bounded_http.send

    def flaky(sender: Any, method: str, url: str, **options: Any) -> Any:
        kind = faults.choose(_hop(url), SENDER_FAULTS)
        if kind == 'no connection':
            raise ProtocolError('the soak cut the connection')
        if kind == 'died before':
            raise Died('killed')
        answer = send(sender, method, url, **options)
        if kind == 'answer lost':
            answer.close()
            raise ProtocolError('the soak cut the connection')
        if kind == 'died after':
            raise Died('killed')
        if kind == 'late':
            time.sleep(LATE)
        return answer

    bounded_http.send = flaky


def _hop(url: str) -> str:
    """The service of a request: a driver's URL is a path."""
    if url.startswith('/'):
        return 'ontap' if url.startswith('/api/') else 'agent'
    return 'glance' if url.startswith(os.environ['GLANCE_URL']) else 'nova'


def join(systems: Mapping[str, Any]) -> None:
    """Let the cloud have more backends and secrets, and services elsewhere."""
    for url in systems['elsewhere']:
        backends.pass_by(url)
    own, put = storage.Storage.backends, stack.put_secret

    def document(self: storage.Storage) -> dict[str, Any]:
        known = own(self)
        return {**known, 'backends': [*known['backends'], *systems['backends']]}

    def put_all(client: Any, name: str, text: str) -> None:
        for each, value in {name: text, **systems['secrets']}.items():
            put(client, each, value)

    storage.Storage.backends = document  # type: ignore[method-assign]
    stack.put_secret = put_all


def counts(log: Path) -> dict[str, collections.Counter[str]]:
    """Return {'fault' or 'metric': how often each occurred} of a log."""
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    with log.open(encoding='utf-8') as lines:
        for line in lines:
            for what, name in json.loads(line).items():
                found[what][name] += 1
    return found


if __name__ == '__main__':
    from chalicelib.models import base
    from local.__main__ import main

    base.START_DEADLINE = 20  # the reconciler finds work that was never started three times as soon

    chosen = Faults(float(os.environ['SOAK_RATE']), os.environ['SOAK_SEED'], Path(os.environ['SOAK_LOG']))
    join(json.loads(os.environ['SOAK_SYSTEMS']))
    install(chosen)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(chosen, 'rate', 0.0))
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
