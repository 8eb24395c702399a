"""A hypervisor's side of an attachment: QEMU's own iSCSI initiator, as a guest's disk would use it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Seconds for one run of a QEMU tool.
TIMEOUT = 600


class Hypervisor:
    """One host. ``connector`` has its connector properties, as os-brick would report them."""

    def __init__(self, name: str, initiator: str) -> None:
        self.initiator = initiator
        self.connector = {
            'host': name,
            'initiator': initiator,
            'ip': '127.0.0.1',
            'platform': 'x86_64',
            'os_type': 'linux',
            'multipath': False,
        }

    def write_image(self, image: Path, info: Mapping[str, Any]) -> None:
        """Copy a raw image onto the volume that connection information describes."""
        with self._secret(info) as secret:
            source = ['--image-opts', f'driver=raw,file.filename={image}']
            self._run(['qemu-img', 'convert', *secret, '-n', '--target-image-opts', *source, self.drive(info)])

    def compare(self, image: Path, info: Mapping[str, Any]) -> bool:
        """Whether every byte of the volume is that of the raw image; qemu-img reads both."""
        with self._secret(info) as secret:
            command = ['qemu-img', 'compare', *secret, '--image-opts', f'driver=raw,file.filename={image}']
            return self._run([*command, self.drive(info)], also=(1,)).returncode == 0

    def io(self, info: Mapping[str, Any], *commands: str, read_only: bool = False) -> str:
        """Run qemu-io commands ('write -P 0xab 0 1M', 'read -P ...') on the volume; return what it printed."""
        arguments = [word for command in commands for word in ('-c', command)]
        mode = ['-r'] if read_only else []
        with self._secret(info) as secret:
            answer = self._run(['qemu-io', *secret, *mode, '--image-opts', *arguments, self.drive(info)])
        if 'verification failed' in answer.stdout:
            raise RuntimeError(f'qemu-io: {answer.stdout.strip()}')
        return answer.stdout

    def drive(self, info: Mapping[str, Any]) -> str:
        """QEMU's description of the volume as a drive; the secret is named, not shown."""
        options = {
            'driver': 'raw',
            'file.driver': 'iscsi',
            'file.transport': 'tcp',
            'file.portal': info['target_portal'],
            'file.target': info['target_iqn'],
            'file.lun': info['target_lun'],
            'file.initiator-name': self.initiator,
            'file.user': info['auth_username'],
            'file.password-secret': 'chap',
        }
        return ','.join(f'{key}={value}' for key, value in options.items())

    @contextlib.contextmanager
    def _secret(self, info: Mapping[str, Any]) -> Iterator[list[str]]:
        """The CHAP secret in a file that only we read: a command line is public."""
        descriptor, path = tempfile.mkstemp()
        try:
            with os.fdopen(descriptor, 'w') as file:
                file.write(info['auth_password'])
            yield ['--object', f'secret,id=chap,file={path}']
        finally:
            Path(path).unlink()

    @staticmethod
    def _run(command: list[str], also: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if answer.returncode not in (0, *also):
            raise RuntimeError(f'{command[0]} failed: {answer.stderr.strip() or answer.stdout.strip()}')
        return answer
