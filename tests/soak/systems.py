"""The systems around the cloud: an ONTAP, a region's EBS, Glance and Nova, in the test's process, which outlives it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance import certificate
from chalicelib.iscsi import open_device
from local.ebs import Timing
from local.ebs.blocks import Disk
from tests import fake_glance, fake_nova
from tests.ebs import ZONES, Clock, Region, serving
from tests.fake_glance import FakeGlance
from tests.fake_nova import FakeNova
from tests.ontap.driver_fixture import SECRET, Appliance
from tests.ontap.server import USERS

#: Volume type -> (backend, arguments of a volume of that type).
TYPES: Mapping[str, tuple[str, dict[str, str]]] = {
    'appliance': ('xfs-nova', {}),
    'ontap': ('ontap', {}),
    'ebs': ('ebs', {'availability_zone': ZONES[0]}),
}

#: Names of the secrets of the ONTAP.
PASSWORD, CHAP = 'cinderless/ontap-password', 'cinderless/ontap-chap'


#: What an ONTAP has for volumes. Hosts keep their igroups and accounts for a day.
ONTAP = ('luns', 'snapshots', 'groups', 'maps')


#: Beginning of the names of hosts' igroups.
HOSTS = 'cinderless-host-'


class RealTime(Clock):
    """The machine's time: the cloud's functions wait in it."""

    def now(self) -> float:
        return time.time()


class InstanceDisk:
    """An EBS volume as the instance has it that attached it."""

    def __init__(self, disk: Disk) -> None:
        self.read, self.write = disk.read, disk.write

    def flush(self) -> None:
        """A write is durable when it returns."""


class Systems:
    """``with Systems(folder) as systems``: the services, and how the cloud finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._undo = folder, contextlib.ExitStack()
        self.region: Region
        self.ontap: Appliance
        self.glance, self.nova = FakeGlance(), FakeNova()

    def __enter__(self) -> Systems:
        with contextlib.ExitStack() as stack:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.region = stack.enter_context(serving(RealTime()))
            self.region.fresh(Timing())
            self.ontap = stack.enter_context(Appliance(self._folder))
            stack.enter_context(fake_glance.serving(self.glance))
            stack.enter_context(fake_nova.serving(self.nova))
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def instance(self) -> str:
        """The EC2 instance that any project may use."""
        return self.region.instance

    def environment(self) -> dict[str, str]:
        """For the cloud; ``serving`` has put the endpoints of EC2 and EBS into this process's environment."""
        secrets = {PASSWORD: USERS['vsadmin'][0], CHAP: SECRET}
        known = {'backends': self._backends(), 'secrets': secrets, 'elsewhere': [self.region.url]}
        return {'GLANCE_URL': self.glance.url, 'NOVA_URL': self.nova.url, 'SOAK_SYSTEMS': json.dumps(known)}

    def _backends(self) -> list[dict[str, Any]]:
        options = {
            'url': self.ontap.double.url,
            'svm': 'svm1',
            'fingerprint': certificate.fingerprint(self.ontap.double.certificate),
            'iscsi_port': self.ontap.fabric.port,
        }
        secrets = {'password': {'secret': PASSWORD}, 'chap_secret': {'secret': CHAP}}
        ebs = {'zones': [ZONES[0]], 'capacity_gb': 1000}
        return [
            {'name': 'ontap', 'driver': 'ontap', 'availability_zone': 'nova', 'options': options, 'secrets': secrets},
            {'name': 'ebs', 'driver': 'ebs', 'availability_zone': ZONES[0], 'options': ebs},
        ]

    @contextlib.contextmanager
    def device(self, info: Mapping[str, Any], connector: Mapping[str, str]) -> Iterator[Any]:
        """Yield what connection information describes, as a host or an instance has it."""
        if info['driver_volume_type'] == 'ebs':
            yield InstanceDisk(self.region.ebs.disk(info['volume_id']))
            return
        with open_device(info, initiator=connector['initiator'], timeout=20) as device:
            yield device

    def left(self) -> list[str]:
        """Return what Glance and Nova found wrong, and the images that an upload left unfinished."""
        unfinished = [f'image {id} is {one["status"]}' for id, one in self.glance.images.items() if not _is_whole(one)]
        return [*self.glance.violations, *self.nova.violations, *unfinished]

    def remains(self) -> list[str]:
        """Return what the emulators have of volumes, whether or not a driver takes it for its own."""
        cluster, ebs = self.ontap.double.cluster, self.region.ebs
        found = [f'ontap has {kind} {one}' for kind in ONTAP for one in getattr(cluster, kind)]
        found += [f'ontap has igroup {one["name"]}' for one in cluster.igroups if not one['name'].startswith(HOSTS)]
        with ebs.lock:
            ebs.cloud.settle()
            return [*found, *(f'EBS has {id}' for id in (*ebs.cloud.volumes, *ebs.cloud.snapshots))]


def _is_whole(image: Mapping[str, Any]) -> bool:
    return bool(image['status'] == 'active')
