"""Which request is which verb of the cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.ontap.cluster import Cluster
from tests.ontap.errors import OntapError
from tests.ontap.queries import Record, Resource
from tests.ontap.state import Scope

LUN = Resource(
    'uuid name',
    'svm.name svm.uuid os_type comment serial_number location.volume.name location.volume.uuid location.logical_unit '
    'space.size space.used space.guarantee.requested space.scsi_thin_provisioning_support_enabled status.state '
    'status.mapped qos_policy.name qos_policy.uuid',
    'attributes attributes.name attributes.value lun_maps lun_maps.igroup.name lun_maps.igroup.uuid '
    'lun_maps.logical_unit_number copy copy.source.name copy.source.progress.state',
)
VOLUME = Resource(
    'uuid name',
    'svm.name svm.uuid style type state is_svm_root space.size space.available space.afs_total guarantee.type '
    'efficiency.dedupe efficiency.compression encryption.enabled aggregates.name',
    'snapmirror.is_protected snapshot_directory_access_enabled',
)
SNAPSHOT = Resource('uuid name', 'svm.name svm.uuid volume.name volume.uuid create_time comment')
GROUP = Resource('uuid name', 'svm.name svm.uuid volumes.name volumes.uuid')
SVM = Resource('uuid name', 'state')
AGGREGATE = Resource('uuid name', 'block_storage.primary.disk_class block_storage.primary.raid_type')
IGROUP = Resource('uuid name', 'svm.name svm.uuid protocol os_type initiators.name')
LUN_MAP = Resource('lun.uuid igroup.uuid', 'svm.name svm.uuid lun.name igroup.name logical_unit_number')
SERVICE = Resource('svm.uuid svm.name', 'enabled target.name')
CREDENTIAL = Resource('svm.uuid initiator', 'svm.name authentication_type chap.inbound.user')
SESSION = Resource('svm.uuid target_portal_group tsih', 'svm.name initiator.name igroups.name igroups.uuid')
INTERFACE = Resource('uuid name', 'svm.name svm.uuid enabled state services ip.address')
POLICY = Resource('uuid name', 'svm.name svm.uuid fixed.max_throughput_iops fixed.max_throughput_mbps')


class Answer(NamedTuple):
    status: int
    document: Record


class Request(NamedTuple):
    cluster: Cluster
    scope: Scope
    path: str
    query: Mapping[str, str]
    body: Record
    page: int


Handler = Callable[..., Answer]


def listing(resource: Resource, records: Callable[[Cluster], list[Record]]) -> Handler:
    def answer(request: Request) -> Answer:
        svm = request.scope.svm
        seen = [one for one in records(request.cluster) if svm in (None, one.get('svm', {}).get('name', svm))]
        return Answer(200, resource.answer(seen, request.path, request.query, request.page))

    return answer


def making(resource: Resource, verb: Callable[[Cluster, Scope, Record], Record]) -> Handler:
    def answer(request: Request) -> Answer:
        made = verb(request.cluster, request.scope, request.body)
        document: Record = {'num_records': 1}
        if request.query.get('return_records') == 'true':
            document['records'] = [resource.view(made, {'fields': '*'})]
        return Answer(201, document)

    return answer


def show_lun(request: Request, uuid: str) -> Answer:
    request.cluster.shown_luns()
    return Answer(200, LUN.view(request.cluster.lun(request.scope, uuid), request.query))


def doing(verb: Callable[..., Any], *extras: str) -> Handler:
    """A verb that answers nothing; ``extras`` are 'body', or query parameters that it takes as yes or no."""

    def answer(request: Request, *names: str) -> Answer:
        more = [request.body if one == 'body' else request.query.get(one) == 'true' for one in extras]
        verb(request.cluster, request.scope, *names, *more)
        return Answer(200, {})

    return answer


def snapshots(request: Request, uuid: str) -> Answer:
    found = request.cluster.snapshots_of(request.scope, uuid)
    return Answer(200, SNAPSHOT.answer(found, request.path, request.query, request.page))


def change_attribute(request: Request, uuid: str, name: str) -> Answer:
    attribute = request.cluster.attribute(request.scope, uuid, name)
    if set(request.body) != {'value'}:
        raise OntapError('5374928')
    attribute['value'] = request.body['value']
    return Answer(200, {})


def adding(verb: Callable[..., Any]) -> Handler:
    """What belongs to a record: an attribute of a LUN, an initiator of a group, a snapshot of a volume."""

    def answer(request: Request, uuid: str) -> Answer:
        verb(request.cluster, request.scope, uuid, request.body)
        return Answer(201, {'num_records': 1})

    return answer


def aggregates(request: Request) -> Answer:
    """Of the cluster, not of an SVM."""
    if request.scope.svm is not None:
        raise OntapError('6')
    return Answer(200, AGGREGATE.answer(request.cluster.aggregates, request.path, request.query, request.page))


_WHILE_MAPPED = 'allow_delete_while_mapped'

ROUTES: list[tuple[str, str, Handler]] = [
    ('GET', '/svm/svms', listing(SVM, lambda cluster: cluster.svms)),
    ('GET', '/storage/aggregates', aggregates),
    ('GET', '/storage/volumes', listing(VOLUME, Cluster.shown_volumes)),
    ('GET', '/storage/volumes/{}/snapshots', snapshots),
    ('POST', '/storage/volumes/{}/snapshots', adding(Cluster.create_snapshot)),
    ('DELETE', '/storage/volumes/{}/snapshots/{}', doing(Cluster.delete_snapshot)),
    ('GET', '/application/consistency-groups', listing(GROUP, lambda cluster: cluster.groups)),
    ('POST', '/application/consistency-groups', making(GROUP, Cluster.create_group)),
    ('DELETE', '/application/consistency-groups/{}', doing(Cluster.delete_group)),
    ('POST', '/application/consistency-groups/{}/snapshots', adding(Cluster.create_group_snapshot)),
    ('GET', '/storage/luns', listing(LUN, Cluster.shown_luns)),
    ('POST', '/storage/luns', making(LUN, Cluster.create_lun)),
    ('GET', '/storage/luns/{}', show_lun),
    ('PATCH', '/storage/luns/{}', doing(Cluster.change_lun, 'body')),
    ('DELETE', '/storage/luns/{}', doing(Cluster.delete_lun, _WHILE_MAPPED)),
    ('POST', '/storage/luns/{}/attributes', adding(Cluster.add_attribute)),
    ('PATCH', '/storage/luns/{}/attributes/{}', change_attribute),
    ('DELETE', '/storage/luns/{}/attributes/{}', doing(Cluster.remove_attribute)),
    ('GET', '/storage/qos/policies', listing(POLICY, lambda cluster: cluster.policies)),
    ('POST', '/storage/qos/policies', making(POLICY, Cluster.create_policy)),
    ('DELETE', '/storage/qos/policies/{}', doing(Cluster.delete_policy)),
    ('GET', '/protocols/san/igroups', listing(IGROUP, lambda cluster: cluster.igroups)),
    ('POST', '/protocols/san/igroups', making(IGROUP, Cluster.create_igroup)),
    ('DELETE', '/protocols/san/igroups/{}', doing(Cluster.delete_igroup, _WHILE_MAPPED)),
    ('POST', '/protocols/san/igroups/{}/initiators', adding(Cluster.add_initiator)),
    ('DELETE', '/protocols/san/igroups/{}/initiators/{}', doing(Cluster.remove_initiator, _WHILE_MAPPED)),
    ('GET', '/protocols/san/lun-maps', listing(LUN_MAP, lambda cluster: cluster.maps)),
    ('POST', '/protocols/san/lun-maps', making(LUN_MAP, Cluster.create_map)),
    ('DELETE', '/protocols/san/lun-maps/{}/{}', doing(Cluster.delete_map)),
    ('GET', '/protocols/san/iscsi/services', listing(SERVICE, lambda cluster: cluster.services)),
    ('GET', '/protocols/san/iscsi/credentials', listing(CREDENTIAL, lambda cluster: cluster.credentials)),
    ('POST', '/protocols/san/iscsi/credentials', making(CREDENTIAL, Cluster.create_credentials)),
    ('PATCH', '/protocols/san/iscsi/credentials/{}/{}', doing(Cluster.change_credentials, 'body')),
    ('DELETE', '/protocols/san/iscsi/credentials/{}/{}', doing(Cluster.delete_credentials)),
    ('GET', '/protocols/san/iscsi/sessions', listing(SESSION, Cluster.sessions)),
    ('GET', '/network/ip/interfaces', listing(INTERFACE, lambda cluster: cluster.interfaces)),
]

#: Verbs that newer releases run as jobs (POST of LUNs since 9.16.1; all others always).
JOBS = {
    ('POST', '/storage/luns'),
    ('POST', '/storage/qos/policies'),
    ('DELETE', '/storage/qos/policies/{}'),
    ('POST', '/storage/volumes/{}/snapshots'),
    ('DELETE', '/storage/volumes/{}/snapshots/{}'),
    ('POST', '/application/consistency-groups'),
    ('DELETE', '/application/consistency-groups/{}'),
    ('POST', '/application/consistency-groups/{}/snapshots'),
}

#: Query parameters of verbs other than GET.
_PARAMETERS = {'return_records', 'return_timeout', _WHILE_MAPPED}


def find(method: str, path: str) -> tuple[str, Handler, list[str]]:
    """Return the route's pattern, its handler, and the values of its braces."""
    known = False
    for verb, pattern, handler in ROUTES:
        match = re.fullmatch(pattern.replace('{}', '([^/]+)'), path)
        known = known or bool(match)
        if match and verb == method:
            return pattern, handler, list(match.groups())
    raise OntapError('3' if known else '4')


def pattern(method: str, path: str) -> str:
    """The route's pattern, or the path itself if there is none."""
    try:
        return find(method, path)[0]
    except OntapError:
        return path


def check_parameters(method: str, query: Mapping[str, str]) -> None:
    for name in query:
        if method != 'GET' and name not in _PARAMETERS:
            raise OntapError('262179', name)
