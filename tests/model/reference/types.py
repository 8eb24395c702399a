"""Volume types in the reference: QoS specs and encryption, which administrators change while volumes come and go."""

from __future__ import annotations

from tests.model.reference.core import Core, codes
from tests.model.reference.records import CONFLICT, INVALID, NOT_FOUND, Accept, Codes


class Types(Core):
    def is_in_use(self, name: str) -> bool:
        """Whether a volume or snapshot is of the type, or will be when a retype ends."""
        volumes = [one for one in self.volumes.values() if one.managed and name in (one.type, one.wanted_type)]
        return bool(volumes) or any(one.type == name for one in self.snapshots.values())

    def encrypt(self, name: str) -> Codes:
        kind = self.kinds[name]
        allowed = codes(200, (kind.encrypted or self.is_in_use(name), INVALID))
        kind.encrypted = kind.encrypted or 200 in allowed
        return allowed

    def decrypt(self, name: str) -> Codes:
        kind = self.kinds[name]
        allowed = codes(202, (self.is_in_use(name), INVALID), (not kind.encrypted, NOT_FOUND))
        kind.encrypted = kind.encrypted and 202 not in allowed
        return allowed

    def create_qos(self, name: str) -> tuple[Codes, Accept]:
        def accept(id: str) -> None:
            self.qos[id] = name

        return codes(200, (name in self.qos.values(), CONFLICT)), accept

    def associate(self, id: str, name: str) -> Codes:
        kind = self.kinds[name]
        allowed = codes(202, (kind.qos not in (None, id), INVALID))
        kind.qos = id if 202 in allowed else kind.qos
        return allowed

    def disassociate(self, id: str, name: str) -> Codes:
        kind = self.kinds[name]
        kind.qos = None if kind.qos == id else kind.qos
        return frozenset({202})

    def disassociate_all(self, id: str) -> Codes:
        for name in self.kinds:
            self.disassociate(id, name)
        return frozenset({202})

    def delete_qos(self, id: str, force: bool) -> Codes:
        if not force and any(kind.qos == id for kind in self.kinds.values()):
            return frozenset({INVALID})
        self.disassociate_all(id)
        del self.qos[id]
        return frozenset({202})
