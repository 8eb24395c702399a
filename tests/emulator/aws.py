"""The emulator as a process: on 127.0.0.1 only, with TLS, and with IAM's decisions about every call."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.children import bound, free_port
from tests.system import environments

HOST, REGION, ACCOUNT = '127.0.0.1', 'us-east-1', '123456789012'

#: API Gateway's hosts are ``<API's id>.execute-api.<domain>``.
DOMAIN = 'localhost'

#: Seconds for the start.
START = 60

#: Waits and pauses between retries of state machines, as a part of what AWS would wait.
WAIT_SCALE = '0.1'


class Emulator:
    """``with Emulator(folder) as aws``: it answers when the block begins, and has ended when the block ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = ACCOUNT
        self.port = free_port()
        self.url = f'https://{HOST}:{self.port}'
        self.log = folder / 'ministack.log'
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Emulator:
        self.certificate = _certificate(self.folder)
        temporary = self.folder / 'tmp'
        temporary.mkdir()
        variables = {
            **_without_aws(),
            **self.credentials,
            'BIND_HOST': HOST,
            'GATEWAY_PORT': str(self.port),
            'MINISTACK_ACCOUNT_ID': ACCOUNT,
            'MINISTACK_REGION': REGION,
            'AUTH': 'true',
            'USE_SSL': '1',
            'MINISTACK_SSL_CERT': str(self.certificate),
            'MINISTACK_SSL_KEY': str(self.certificate.with_suffix('.key')),
            'SFN_WAIT_SCALE': WAIT_SCALE,
            'AWS_CA_BUNDLE': str(self.certificate),
            'TMPDIR': str(temporary),
        }
        python = environments.ensure('emulator')
        with self.log.open('wb') as output:
            command = [str(python), str(Path(__file__).with_name('serve.py'))]
            self._process = subprocess.Popen(bound(command), env=variables, stdout=output, stderr=subprocess.STDOUT)
        self._wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it: nothing of it outlives it, and its end by a signal takes half a minute of open connections."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def credentials(self) -> dict[str, str]:
        """The root user's, as variables of the environment."""
        return {'AWS_ACCESS_KEY_ID': 'test', 'AWS_SECRET_ACCESS_KEY': 'test', 'AWS_DEFAULT_REGION': REGION}

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which the AWS CLI and the SDK reach this emulator and nothing else."""
        return {
            **_without_aws(),
            **self.credentials,
            'AWS_ENDPOINT_URL': self.url,
            'AWS_CA_BUNDLE': str(self.certificate),
            'AWS_EC2_METADATA_DISABLED': 'true',
            'AWS_CONFIG_FILE': os.devnull,
            'AWS_SHARED_CREDENTIALS_FILE': os.devnull,
        }

    @functools.cache  # noqa: B019 - as many clients as services, for the life of one emulator
    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            verify=str(self.certificate),
            aws_access_key_id=self.credentials['AWS_ACCESS_KEY_ID'],
            aws_secret_access_key=self.credentials['AWS_SECRET_ACCESS_KEY'],
        )

    def _wait(self) -> None:
        assert self._process is not None
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self._process.poll() is None:
            with (
                contextlib.suppress(urllib.error.URLError),
                urllib.request.urlopen(f'{self.url}/_ministack/ready', context=trusted, timeout=5),
            ):
                return
            time.sleep(0.1)
        self.__exit__()
        pytest.fail(f'the emulator does not start:\n{self.log.read_text(errors="replace")[-4000:]}')


def _without_aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith('AWS_')}


def _certificate(folder: Path) -> Path:
    """Create a certificate that programs trust by its file alone; the key is beside it."""
    certificate = folder / 'emulator.crt'
    names = f'subjectAltName=DNS:{DOMAIN},DNS:*.execute-api.{DOMAIN},IP:{HOST}'
    command = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    command += ['-days', '2', '-subj', '/CN=emulator', '-addext', names]
    command += ['-keyout', str(certificate.with_suffix('.key')), '-out', str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate


@contextlib.contextmanager
def resolving() -> Iterator[None]:
    """Have this process resolve names below ``localhost`` to 127.0.0.1, as RFC 6761 has it."""
    resolve = socket.getaddrinfo

    def resolve_local(host: Any, *arguments: Any, **options: Any) -> Any:
        local = isinstance(host, str) and host.endswith(f'.{DOMAIN}')
        return resolve(HOST if local else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, 'getaddrinfo', resolve_local)
        yield
