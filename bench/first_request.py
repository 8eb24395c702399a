"""The first request after idle: a fresh process from the unpacked archives, with the CPU share of its memory.

Lambda gives a function CPU in proportion to its memory, one vCPU at 1,769 MB, by a quota of the kernel's scheduler;
this does the same with a control group. Measured is the time from the import of the handler to the answer, with AWS
answering at once; what AWS adds (placing the environment, fetching the archive) is not in it. With SnapStart the
process is a fork of an initialized one, in which the hook after the restore runs. Restoring the memory is not in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import coldstart
from chalicelib.identity.local import local_document
from infra import interpreter

#: Memory in MB, and processes for each figure.
SIZES, TIMES = (512, 1024, 1769), 7

#: MB of memory that give one vCPU.
FULL = 1769

#: Length of a scheduling period in microseconds, as Linux and Lambda have it.
PERIOD = 100_000

#: A snapshot's child runs the hook and the request; the parent's initialization is not measured.
_RESTORED = """
import json, os, sys, time, types
hooks = {}
runtime = types.ModuleType('snapshot_restore_py')
runtime.register_before_snapshot = lambda call: hooks.setdefault('before', call)
runtime.register_after_restore = lambda call: hooks.setdefault('after', call)
sys.modules['snapshot_restore_py'] = runtime
"""


@contextlib.contextmanager
def quota(share: float) -> Iterator[Path]:
    """Yield a control group with this share of a CPU; processes join it by its file ``cgroup.procs``.

    Raises OSError where this user cannot create one.
    """
    first = Path('/sys/fs/cgroup/cpu')
    group = (first if first.exists() else Path('/sys/fs/cgroup')) / f'cinderless-bench-{os.getpid()}'
    group.mkdir()
    try:
        if first.exists():
            (group / 'cpu.cfs_period_us').write_text(str(PERIOD))
            (group / 'cpu.cfs_quota_us').write_text(str(int(share * PERIOD)))
        else:
            (group / 'cpu.max').write_text(f'{int(share * PERIOD)} {PERIOD}')
        yield group
    finally:
        group.rmdir()


def run() -> list[tuple[str, str]]:
    """Return (measurement, figure) rows."""
    with tempfile.TemporaryDirectory(prefix='cinderless-bench-') as name:
        return list(_rows(Path(name)))


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    version = interpreter.runtime()
    python = interpreter.find(version)
    if python is None:
        raise RuntimeError(f'python{version} is not here: set PYTHON313')
    path = coldstart.archives(folder, version, python)
    yield 'load of the machine (1 min, of 2 CPUs)', f'{os.getloadavg()[0]:.1f}'
    for size in SIZES:
        with quota(min(1.0, size / FULL)) as group:
            cold = [_once(python, path, group, restored=False) for _ in range(TIMES)]
            restored = [_once(python, path, group, restored=True) for _ in range(TIMES)]
        for what, found in (('cold', cold), ('from a snapshot', restored)):
            wall, cpu = (statistics.median(each[place] for each in found) for place in (0, 1))
            yield f'first GET /v3/volumes, {size} MB, {what}: p50', f'{wall:.0f} ms ({cpu:.0f} ms of CPU)'


def _once(python: str, path: list[str], group: Path, *, restored: bool) -> tuple[float, float]:
    """Return (milliseconds to the answer, milliseconds of CPU of the process)."""
    document = json.dumps(local_document())
    event = coldstart.event('GET', '/v3/volumes', None, document)
    script = (_RESTORED if restored else '') + _SCRIPT
    environment = {**os.environ, **coldstart.ENVIRONMENT, 'AWS_LAMBDA_FUNCTION_NAME': 'bench-api'}
    if restored:
        environment['AWS_LAMBDA_INITIALIZATION_TYPE'] = 'snap-start'
    command = [python, '-c', script, json.dumps([path, event, document, str(group / 'cgroup.procs')])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall, cpu, status = json.loads(done.stdout.splitlines()[-1])
    if status != 200:
        raise RuntimeError(f'GET /v3/volumes answered {status}')
    return wall * 1000, cpu * 1000


#: Joins the group, then does what Lambda's runtime does: import the handler, answer one event.
_SCRIPT = """
import io, json, os, sys, time
path, event, document, group = json.loads(sys.argv[1])
open(group, 'w').write(str(os.getpid()))
sys.path[:0] = path

class Raw(io.BytesIO):
    def stream(self, *_):
        yield self.read()

def send(self, request):
    from botocore.awsrequest import AWSResponse
    answer = {'Items': [], 'Count': 0, 'ScannedCount': 0, 'Parameter': {'Value': document}, 'MessageId': 'x'}
    return AWSResponse(request.url, 200, {}, Raw(json.dumps(answer).encode()))

def answered_by_us():
    from botocore.httpsession import URLLib3Session
    URLLib3Session.send = send

def request():
    answered_by_us()
    return app.app(event, None)['statusCode']

began, used = time.perf_counter(), time.process_time()
import app
if 'hooks' in globals():
    answered_by_us()  # a client keeps the method that it found
    hooks['before']()
    if os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    began, used = time.perf_counter(), time.process_time()
    hooks['after']()
status = request()
print(json.dumps([time.perf_counter() - began, time.process_time() - used, status]), flush=True)
if 'hooks' in globals():
    os._exit(0)
"""


if __name__ == '__main__':
    for what, figure in run():
        print(f'{what}: {figure}', file=sys.stdout, flush=True)
