"""What the double has for disks: ``fabric.Fabric``, or nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tests.ontap.fabric import Unit


class Disks(Protocol):
    def create(self, uuid: str, size: int) -> None: ...
    def clone(self, source: str, uuid: str) -> None: ...
    def clone_all(self, clones: Mapping[str, str]) -> None: ...
    def delete(self, uuid: str) -> None: ...
    def change(self, unit: Unit, source: str = '') -> None: ...
    def show(self, initiator: str, number: int, unit: Unit) -> None: ...
    def hide(self, initiator: str, number: int) -> None: ...
    def authenticate(self, initiator: str, account: tuple[str, str] | None) -> None: ...
    def initiators(self) -> list[str]: ...


class NoDisks(Disks):
    """For tests of the REST side. ``logged_in`` names the hosts that have sessions."""

    def __init__(self) -> None:
        self.logged_in: list[str] = []

    def initiators(self) -> list[str]:
        return self.logged_in
