"""TLS for the API's door, with OpenSSL's client as the witness."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import certificates
from local.http import Request, Response, Server
from local.settings import HOST, Refused, Settings


def settings(folder: Path, **environment: str) -> Settings:
    folder.mkdir(exist_ok=True)
    return Settings.from_environment({'STATE_DIR': str(folder), **environment})


def answer(request: Request) -> Response:
    return Response(200, [], request.body or b'hello')


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Settings, Server]]:
    chosen = settings(tmp_path / 'state', TLS='1', ADVERTISE='storage.example')
    server = Server(0, answer, HOST, certificates.context(chosen))
    server.start()
    yield chosen, server
    server.stop()


def verify(path: Path | None, port: int, name: str) -> str:
    """What ``openssl s_client`` reports about the certificate."""
    command = ['openssl', 's_client', '-connect', f'{HOST}:{port}', '-CAfile', str(path), '-verify_hostname', name]
    done = subprocess.run(command, input='', capture_output=True, text=True, timeout=30, check=False)
    return next(line for line in done.stdout.splitlines() if 'Verify return code' in line or 'Verification' in line)


@pytest.mark.parametrize(
    ('name', 'reported'), [('storage.example', 'OK'), ('localhost', 'OK'), ('other.example', 'error')]
)
def test_clients_verify_a_generated_certificate(served: tuple[Settings, Server], name: str, reported: str) -> None:
    chosen, server = served
    assert reported in verify(certificates.authority(chosen), server.port, name)


def test_the_key_is_the_owners_and_both_are_kept(tmp_path: Path) -> None:
    chosen = settings(tmp_path, TLS='1')
    certificates.context(chosen)
    folder = tmp_path / 'tls'
    first = (folder / 'certificate.pem').read_bytes()
    assert (folder / 'key.pem').stat().st_mode & 0o777 == 0o600
    certificates.context(chosen)
    assert (folder / 'certificate.pem').read_bytes() == first
    certificates.context(settings(tmp_path, TLS='1', ADVERTISE='storage.example'))
    second = (folder / 'certificate.pem').read_bytes()
    assert second != first
    (folder / 'certificate.pem').write_text('')
    certificates.context(settings(tmp_path, TLS='1'))
    assert (folder / 'certificate.pem').read_bytes() not in (b'', first, second)


def test_a_given_certificate_is_used(tmp_path: Path) -> None:
    certificates.context(settings(tmp_path / 'other', TLS='1'))
    made = tmp_path / 'other' / 'tls'
    pair = {'TLS_CERTIFICATE': str(made / 'certificate.pem'), 'TLS_KEY': str(made / 'key.pem')}
    chosen = settings(tmp_path / 'state', **pair)
    certificates.check(chosen)
    assert certificates.context(chosen) is not None
    assert certificates.authority(chosen) is None
    assert not (tmp_path / 'state' / 'tls').exists()


@pytest.mark.parametrize('certificate', ['missing.pem', 'text.pem'])
def test_a_certificate_that_is_none_is_refused_in_one_line(tmp_path: Path, certificate: str) -> None:
    (tmp_path / 'text.pem').write_text('text')
    chosen = settings(tmp_path, TLS_CERTIFICATE=str(tmp_path / certificate))
    with pytest.raises(Refused, match=rf'TLS_CERTIFICATE=\S+{certificate}, TLS_KEY=') as error:
        certificates.check(chosen)
    assert '\n' not in str(error.value)


def test_a_client_that_speaks_no_tls_or_nothing_delays_no_other(
    served: tuple[Settings, Server], capfd: pytest.CaptureFixture[str]
) -> None:
    chosen, server = served
    trusting = ssl.create_default_context(cafile=certificates.authority(chosen))
    with socket.create_connection((HOST, server.port)), socket.create_connection((HOST, server.port)) as plain:
        plain.sendall(b'GET / HTTP/1.1\r\n\r\n')
        with (
            socket.create_connection((HOST, server.port), timeout=5) as raw,
            trusting.wrap_socket(raw, server_hostname='storage.example') as secure,
        ):
            secure.sendall(b'POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde')
            assert secure.recv(4096).endswith(b'abcde')
    assert 'Traceback' not in capfd.readouterr().err
