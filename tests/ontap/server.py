"""The double's HTTPS front: authentication, jobs, pages, and faults on demand."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import json
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from appliance import certificate
from appliance.server import tls_context
from tests.ontap import routes
from tests.ontap.cluster import Cluster
from tests.ontap.errors import OntapError
from tests.ontap.queries import Record
from tests.ontap.state import Scope

#: User -> (password, the SVM that he is bound to).
USERS: dict[str, tuple[str, str | None]] = {
    'fsxadmin': ('cluster-password', None),
    'vsadmin': ('svm-password', 'svm1'),
    'theirs': ('their-password', 'svm2'),
}


class Fault(enum.Enum):
    """The fault to inject into a request."""

    GARBAGE = enum.auto()  # an answer that is not JSON, of a proxy perhaps
    BUSY = enum.auto()  # 503
    DROP = enum.auto()  # the connection ends before anything is done
    LOSE = enum.auto()  # it is done, and the answer is lost
    SLOW = enum.auto()  # it is done, and the answer comes after ``Double.slow`` seconds


#: Faults before the request is looked at, and what is sent.
_UNHEARD = {
    Fault.GARBAGE: (200, b'<html>Welcome</html>'),
    Fault.BUSY: (503, b'{"error": {"code": "0", "message": "too busy"}}'),
    Fault.DROP: (0, b''),
}


@dataclasses.dataclass
class Job:
    """The job behind a 202: done after a configured number of polls."""

    uuid: str
    state: str = 'running'
    error: OntapError | None = None
    polls: int = 0


class Double:
    """``with Double(cluster, folder) as double``: ONTAP's REST API at ``double.url``."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.certificate, self._key = certificate.ensure(folder)
        self.faults: list[tuple[str, str, Fault]] = []
        self.calls: list[str] = []
        self.slow = 0.2
        self.page = 10_000
        #: A job is done after so many questions; 0: at once, as far as return_timeout allows to wait.
        self.job_polls = 0
        self.jobs_for_luns = False
        self.jobs: dict[str, Job] = {}
        self._server = _Server(('127.0.0.1', 0), self, tls_context(self.certificate, self._key))
        self.url = f'https://127.0.0.1:{self._server.server_address[1]}'

    def __enter__(self) -> Double:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, path: str, *faults: Fault) -> None:
        """Let the next requests of this route (as in ``routes.ROUTES``, or '*') go wrong."""
        self.faults += [(method, path, fault) for fault in faults]

    def fault(self, method: str, pattern: str) -> Fault | None:
        for number, (verb, path, fault) in enumerate(self.faults):
            if verb in (method, '*') and path in (pattern, '*'):
                del self.faults[number]
                return fault
        return None

    def answer(self, method: str, target: str, authorization: str, svm_name: str, body: Record) -> routes.Answer:
        path, _, text = target.partition('?')
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        try:
            scope = self._scope(authorization, svm_name)
            path = urllib.parse.unquote(path.removeprefix('/api'))
            with self.cluster.lock:
                return self._route(method, path, query, scope, body)
        except OntapError as error:
            return routes.Answer(error.status, error.document())

    def _route(self, method: str, path: str, query: dict[str, str], scope: Scope, body: Record) -> routes.Answer:
        if path.startswith('/cluster/jobs/'):
            return self._job(path.rpartition('/')[2])
        pattern, handler, names = routes.find(method, path)
        routes.check_parameters(method, query)
        request = routes.Request(self.cluster, scope, path, query, body, self.page)
        if not self._is_job(method, pattern, query):
            return handler(request, *names)
        job = Job(str(uuid.uuid4()), polls=self.job_polls)
        try:
            handler(request, *names)
        except OntapError as error:
            job.error = error
        self.jobs[job.uuid] = job
        return routes.Answer(202, {'job': {'uuid': job.uuid}})

    def _is_job(self, method: str, pattern: str, query: dict[str, str]) -> bool:
        """Return whether the answer is a job: not for a client that waits, unless jobs take polls."""
        asynchronous = (method, pattern) in routes.JOBS and (self.jobs_for_luns or pattern != '/storage/luns')
        return asynchronous and (self.job_polls > 0 or int(query.get('return_timeout', 0)) == 0)

    def _job(self, job_uuid: str) -> routes.Answer:
        job = self.jobs.get(job_uuid)
        if job is None:
            raise OntapError('4')
        job.polls -= 1
        if job.polls < 0:
            job.state = 'failure' if job.error else 'success'
        document: Record = {'uuid': job.uuid, 'state': job.state}
        if job.state == 'failure' and job.error:
            document |= {'code': int(job.error.code), 'message': job.error.message}
            document['error'] = {'code': job.error.code, 'message': job.error.message}
        return routes.Answer(200, document)

    def _scope(self, authorization: str, svm_name: str) -> Scope:
        kind, _, coded = authorization.partition(' ')
        user, _, password = base64.b64decode(coded).decode().partition(':') if kind == 'Basic' else ('', '', '')
        known = USERS.get(user)
        if known is None or known[0] != password:
            raise OntapError('6691623')
        if svm_name:
            self.cluster.svm(svm_name)
        if known[1] and svm_name not in ('', known[1]):
            raise OntapError('6')
        return Scope(known[1] or svm_name or None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], double: Double, tls: Any) -> None:
        super().__init__(address, _Handler)
        self.double = double
        self.tls = tls

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: clients that disconnect are not an error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.request.settimeout(30)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def do_GET(self) -> None:
        double = self.server.double
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        path = urllib.parse.unquote(self.path.partition('?')[0].removeprefix('/api'))
        double.calls.append(f'{self.command} {path}')
        fault = double.fault(self.command, routes.pattern(self.command, path))
        if fault in _UNHEARD:
            self._send(*_UNHEARD[fault])
            return
        answer = double.answer(
            self.command,
            self.path,
            self.headers.get('Authorization', ''),
            self.headers.get('X-Dot-SVM-Name', ''),
            json.loads(body) if body else {},
        )
        if fault is Fault.SLOW:
            time.sleep(double.slow)
        self._send(answer.status if fault is not Fault.LOSE else 0, json.dumps(answer.document).encode())

    do_POST = do_GET  # noqa: N815
    do_PATCH = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests look at ``Double.calls``."""

    def _send(self, status: int, body: bytes) -> None:
        """Status 0: the connection ends instead."""
        self.close_connection = status == 0
        if status == 0:
            return
        head = f'HTTP/1.1 {status} x\r\nContent-Type: application/hal+json\r\nContent-Length: {len(body)}\r\n\r\n'
        with contextlib.suppress(OSError):
            self.wfile.write(head.encode() + body)
