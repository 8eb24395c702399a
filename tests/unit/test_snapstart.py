"""SnapStart: two environments that are restored from one snapshot, as two forks of one initialized process.

A fork has the memory of its parent, as a restored environment has that of the snapshot; AWS's hooks are called as the
runtime calls them. The control is the same without the hook after the restore.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

SCRIPT = """
import http.server, json, os, random, secrets, sys, threading, types, uuid

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        self.rfile.read(int(self.headers['Content-Length']))
        parameter = {'Name': '/x', 'Value': str(self.client_address[1]), 'Type': 'String', 'Version': 1}
        facts = {'Parameter': parameter, 'MessageId': str(self.client_address[1]), 'MD5OfMessageBody': None,
                 'Item': {'port': {'S': str(self.client_address[1])}}}
        body = json.dumps({name: value for name, value in facts.items() if value}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Content-Type', 'application/x-amz-json-1.0')
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(AWS_ENDPOINT_URL=f'http://127.0.0.1:{server.server_port}')

hooks = {}
runtime = types.ModuleType('snapshot_restore_py')
runtime.register_before_snapshot = lambda call: hooks.setdefault('before', call)
runtime.register_after_restore = lambda call: hooks.setdefault('after', call)
sys.modules['snapshot_restore_py'] = runtime

import app
hooks['before']()
from chalicelib import aws, jitter
from chalicelib.identity import token
from chalicelib.models import connection, writes

def ports():
    aws.forget_documents()
    item = connection.connection().client.get_item(TableName='t', Key={'id': {'S': '1'}})
    return [aws.parameter('/x'), item['Item']['port']['S']]

def facts():
    return {
        'ports': ports(),
        'pause': jitter.jittered(1.0),
        'sample': random.sample(range(10**6), 3),
        'uuid': str(uuid.uuid4()),
        'token': secrets.token_hex(8),
        'write': writes._Token().text,
        'transaction': writes._request_token(),
        'audit': token.new_audit_id(),
    }

snapshot = ports()  # the snapshot has open connections
state, read_ends = random.getstate(), []
for number in range(2):
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        random.setstate(state)  # Python seeds the generator again in a fork; a restored environment has the snapshot's
        if sys.argv[1] == 'hook':
            hooks['after']()
        os.write(write_end, json.dumps(facts()).encode())
        os._exit(0)
    os.close(write_end)
    os.wait()
    read_ends.append(read_end)
print(json.dumps([snapshot, *(json.loads(os.read(end, 65536)) for end in read_ends)]))
"""

ENVIRONMENT = {
    'AWS_LAMBDA_FUNCTION_NAME': 'cinderless-api',
    'AWS_LAMBDA_INITIALIZATION_TYPE': 'snap-start',
    'AWS_DEFAULT_REGION': 'us-east-1',
    'AWS_ACCESS_KEY_ID': 'x',
    'AWS_SECRET_ACCESS_KEY': 'x',
}


def restored(hook: str) -> list[Any]:
    """[the snapshot's ports, the facts of one environment, the facts of another]."""
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, hook],
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def test_two_environments_of_one_snapshot_share_nothing_that_must_differ() -> None:
    snapshot, one, other = restored('hook')
    for name in one:
        assert one[name] != other[name], name
    ports = [*snapshot, *one['ports'], *other['ports']]
    assert len(set(ports)) == len(ports)


def test_without_the_hook_they_would_share_connections_and_random_numbers() -> None:
    snapshot, one, other = restored('none')
    assert one['ports'] == other['ports'] == snapshot
    assert (one['pause'], one['sample']) == (other['pause'], other['sample'])
    assert one['uuid'] != other['uuid']  # the operating system's generator


def test_only_an_environment_with_snapstart_registers_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.api import snapstart

    monkeypatch.setenv('AWS_LAMBDA_INITIALIZATION_TYPE', 'on-demand')
    snapstart.register()  # the module of the runtime does not exist here
    monkeypatch.setenv('AWS_LAMBDA_INITIALIZATION_TYPE', snapstart.SNAP_START)
    with pytest.raises(ModuleNotFoundError, match=snapstart.HOOKS):
        snapstart.register()
