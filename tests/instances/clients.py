"""The requests of the matrix to an instance, in a client's terms."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from tests.instances.processes import Process

FAST, BIG = 'cinderless@fast#pool', 'cinderless@big#pool'


@dataclasses.dataclass(frozen=True)
class Client:
    """An administrator and a member of one project, at one instance."""

    instance: Process
    project: str

    def ask(self, method: str, path: str, body: Any = None, *, role: str = 'admin', project: str = '') -> Any:
        """Return (status, body)."""
        answer = self.instance.call(
            'request', role=role, project=project or self.project, method=method, path=path, body=body
        )
        return answer['status'], answer['body']

    def do(self, method: str, path: str, body: Any = None, **facts: Any) -> Any:
        """Return the body of a request that must be accepted."""
        status, answer = self.ask(method, path, body, **facts)
        assert status < 300, (method, path, status, answer)
        return answer

    def create_type(self, name: str, specs: dict[str, str] | None = None) -> str:
        body = {'volume_type': {'name': name, 'extra_specs': specs or {}}}
        return str(self.do('POST', '/types', body)['volume_type']['id'])

    def set_quota(self, **limits: int) -> None:
        self.do('PUT', f'/os-quota-sets/{self.project}', {'quota_set': limits})

    def set_class(self, **limits: int) -> None:
        self.do('PUT', '/os-quota-class-sets/default', {'quota_class_set': limits})

    def service(self, verb: str, host: str) -> None:
        body = {'host': host} if verb in ('freeze', 'thaw') else {'host': host, 'binary': 'cinder-volume'}
        self.do('PUT', f'/os-services/{verb}', body)

    def create(self, volume_type: str | None = None, size: int = 1, **facts: Any) -> tuple[int, Any]:
        body = {'volume': {'size': size, **({'volume_type': volume_type} if volume_type else {}), **facts}}
        return self.ask('POST', '/volumes', body, role='member')  # type: ignore[no-any-return]

    def volume(self, **facts: Any) -> str:
        """An available volume's id."""
        status, body = self.create(**facts)
        assert status == 202, body
        self.instance.call('settle', messages=[])
        return str(body['volume']['id'])

    def show(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.do('GET', f'/volumes/{id}')['volume']
        return found

    def settled(self, answer: tuple[int, Any]) -> dict[str, Any] | int:
        """The volume of an accepted request when its work is done; else the status of the refusal."""
        status, body = answer
        if status != 202:
            return status
        self.instance.call('settle', messages=[])
        return self.show(body['volume']['id'])

    def act(self, id: str, name: str, body: Any, role: str = 'admin') -> int:
        return int(self.ask('POST', f'/volumes/{id}/action', {name: body}, role=role)[0])


def name(prefix: str = 'n') -> str:
    """A name that is taken nowhere."""
    return f'{prefix}-{uuid.uuid4().hex[:12]}'
