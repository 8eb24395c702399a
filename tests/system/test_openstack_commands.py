"""The openstack CLI runs every command of block storage that it has."""

from __future__ import annotations

import importlib.metadata
import uuid

import pytest

from tests.system import commands
from tests.system.clients import User, unique
from tests.system.cloud import Cloud
from tests.system.commands import Story, Teller

NOVA_HOST = 'cinderless@xfs-nova'
FAST, SLOW = f'{NOVA_HOST}#fast', f'{NOVA_HOST}#slow'

#: Commands that need another service than block storage.
ELSEWHERE = {
    'volume attachment create',  # requests the server from Nova before the attachment
}

STORIES: dict[str, Story] = {
    'volumes': [
        ('volume create --size 1 --description words --property a=b {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume show {name}', r"description +\| words .* {volume} .* a='b' .* available"),
        ('volume list --name {name} --long', r'{volume} \| {name} \| available'),
        ('volume summary', r'Total Count +\| \d+'),
        ('volume set --name {name}-2 --property c=d --image-property os=linux --bootable --read-only {volume}', ''),
        ('volume unset --property a --image-property os {volume}', ''),
        ('volume show {volume}', r"bootable +\| True .* {name}-2 .* c='d'"),
        ('volume set --size 2 {volume}', ''),
        ('@ volumes {volume}', 'available'),
        ('! volume show nothing-{name}', 'No Volume found for nothing-{name}'),
        ('! volume create --size 1 --image 5f2b0ae3-3c1b-4ff4-a8a7-9c6d9f0c3b11 {name}', 'image'),
        ('volume set --state error {volume}', ''),
        ('volume delete --force {volume}', ''),
        ('@ volumes {volume}', 'gone'),
    ],
    'moves': [
        ('volume type create --property pool_name=fast {name}-fast', r'\| id +\| (?P<fast>\S+)'),
        ('volume type create --property pool_name=slow {name}-slow', r'\| id +\| (?P<slow>\S+)'),
        ('volume create --size 1 --type {name}-fast {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume set --type {slow} --migration-policy on-demand {volume}', ''),
        ('@ volumes {volume}', 'available'),
        ('volume show {volume}', rf'host +\| {SLOW} .* {{name}}-slow'),
        ('volume set --type __DEFAULT__ {volume}', ''),
        ('@ volumes {volume}', 'available'),
        (f'volume migrate --host {FAST} --lock-volume {{volume}}', ''),
        ('@ volumes {volume}', 'available'),
        ('volume show {volume}', rf'host +\| {FAST}'),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
        ('volume type delete {fast} {slow}', ''),
    ],
    'snapshots': [
        ('volume create --size 1 {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume snapshot create --volume {volume} --property a=b {name}-snap', r'\| id +\| (?P<snapshot>\S+)'),
        ('@ volume_snapshots {snapshot}', 'available'),
        ('volume snapshot show {name}-snap', r"{snapshot} .* a='b' .* available .* {volume}"),
        ('volume snapshot list --volume {volume}', r'{snapshot}'),
        ('volume snapshot set --name {name}-2 --property c=d --state error {snapshot}', ''),
        ('volume snapshot unset --property a {snapshot}', ''),
        ('volume snapshot show {snapshot}', r"{name}-2 .* c='d' .* error"),
        ('volume snapshot set --state available {snapshot}', ''),
        ('volume revert {snapshot}', ''),
        ('@ volumes {volume}', 'available'),
        ('@ volume_snapshots {snapshot}', 'available'),
        ('volume snapshot delete {snapshot}', ''),
        ('@ volume_snapshots {snapshot}', 'gone'),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
    ],
    'management': [
        ('volume create --size 1 {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume show {volume}', r'os-vol-host-attr:host +\| (?P<host>\S+)'),
        ('volume snapshot create --volume {volume} {name}-snap', r'\| id +\| (?P<snapshot>\S+)'),
        ('@ volume_snapshots {snapshot}', 'available'),
        ('volume snapshot delete --remote {snapshot}', ''),
        ('@ volume_snapshots {snapshot}', 'gone'),
        ('block storage snapshot manageable list {host}', r'unmanaged-snapshot-{snapshot}'),
        ('volume snapshot create --volume {volume} --remote-source source-name=unmanaged-snapshot-{snapshot} back',
         r'\| id +\| (?P<managed_snapshot>\S+)'),
        ('@ volume_snapshots {managed_snapshot}', 'available'),
        ('volume snapshot delete {managed_snapshot}', ''),
        ('@ volume_snapshots {managed_snapshot}', 'gone'),
        ('volume delete --remote {volume}', ''),
        ('@ volumes {volume}', 'gone'),
        ('block storage volume manageable list {host}', r'unmanaged-volume-{volume}'),
        ('volume create --host {host} --non-bootable --remote-source source-name=unmanaged-volume-{volume} back',
         r'\| id +\| (?P<managed>\S+)'),
        ('@ volumes {managed}', 'available'),
        ('volume delete {managed}', ''),
        ('@ volumes {managed}', 'gone'),
    ],
    'backups': [
        ('volume create --size 1 {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume backup create --name {name}-backup --property a=b {volume}', r'\| id +\| (?P<backup>\S+)'),
        ('@ backups {backup}', 'available'),
        ('volume backup list --volume {volume}', r'{backup} +\| {name}-backup'),
        ('volume backup set --name {name}-2 --property c=d {backup}', ''),
        ('! volume backup unset --property a {backup}', 'could not be found'),  # calls a path that no Cinder has
        ('volume backup show {backup}', r"{name}-2"),
        ('volume backup restore {backup} {name}-restored', r'volume_id +\| (?P<restored>\S+)'),
        ('@ volumes {restored}', 'available'),
        ('@ backups {backup}', 'available'),
        ('volume backup record export -f value {backup}', r'(?P<service>\S+)\n(?P<record>\S+)'),
        ('! volume backup record import {service} {record}', 'could not be found'),  # calls the export's address
        ('volume backup set --state error {backup}', ''),
        ('volume backup delete --force {backup}', ''),
        ('@ backups {backup}', 'gone'),
        ('volume delete {volume} {restored}', ''),
        ('@ volumes {volume}', 'gone'),
        ('@ volumes {restored}', 'gone'),
    ],
    'transfers': [
        ('volume create --size 1 {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume transfer request create --name {name}-gift {volume}',
         r'auth_key +\| (?P<key>\S+).*\| id +\| (?P<transfer>\S+)'),
        ('volume transfer request list', r'{transfer}'),
        ('volume transfer request show {transfer}', r'{name}-gift'),
        ('volume transfer request accept --auth-key {key} {transfer}', r'{volume}'),
        ('volume transfer request create --name {name}-gift {volume}', r'\| id +\| (?P<transfer>\S+)'),
        ('volume transfer request delete {transfer}', ''),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
    ],
    'types': [
        ('volume type create --private --description words --property a=b {name}', r'\| id +\| (?P<kind>\S+)'),
        ('volume type list --private', r'{kind}'),
        ('volume type show {name}', r"{kind} .* a='b'"),
        ('volume type set --name {name}-2 --property c=d --project {project} {kind}', ''),
        ('volume type unset --property a --project {project} {kind}', ''),
        ('volume type set --encryption-provider luks --encryption-cipher aes-xts-plain64 --encryption-key-size 256 '
         '--encryption-control-location front-end {kind}', ''),
        ('volume type show --encryption-type {kind}', r"aes-xts-plain64"),
        ('volume type unset --encryption-type {kind}', ''),
        ('volume type delete {kind}', ''),
    ],
    'qos specs': [
        ('volume type create {name}', r'\| id +\| (?P<kind>\S+)'),
        ('volume qos create --consumer back-end --property iops=100 {name}', r'\| id +\| (?P<qos>\S+)'),
        ('volume qos set --property burst=200 {qos}', ''),
        ('volume qos unset --property iops {qos}', ''),
        ('volume qos associate {qos} {kind}', ''),
        ('volume qos show {qos}', r"{name} .* burst='200'"),
        ('volume qos list', r'{qos}'),
        ('volume qos disassociate --volume-type {kind} {qos}', ''),
        ('volume qos delete {qos}', ''),
        ('volume type delete {kind}', ''),
    ],
    'groups': [
        ('volume type create {name}', r'\| id +\| (?P<kind>\S+)'),
        ('volume group type create --description words {name}', r'\| ID +\| (?P<group_type>\S+)'),
        ('volume group type set --description other --property a=b {group_type}', r'other'),
        ('volume group type show {group_type}', r"a='b'"),
        ('volume group type set --no-property {group_type}', ''),
        ('volume group type list', r'{group_type}'),
        ('volume group create --volume-group-type {group_type} --volume-type {kind} --name {name}',
         r'\| ID +\| (?P<group>\S+)'),
        ('@ groups {group}', 'available'),
        ('volume create --size 1 --type {kind} {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('volume group add volume {group} {volume}', ''),
        ('@ groups {group}', 'available'),
        ('volume group show --volumes {group}', r'{volume}'),
        ('volume group list', r'{group} +\| available'),
        ('volume group set --name {name}-2 {group}', r'{name}-2'),
        ('volume group snapshot create --name {name}-snap {group}', r'\| ID +\| (?P<taken>\S+)'),
        ('@ group_snapshots {taken}', 'available'),
        ('volume group snapshot list', r'{taken}'),
        ('volume group snapshot show {taken}', r'{name}-snap'),
        ('volume group snapshot delete {taken}', ''),
        ('@ group_snapshots {taken}', 'gone'),
        ('! volume group failover {group}', 'There is no such action: modify_body_for_action'),  # its SDK's mistake
        ('volume group remove volume {group} {volume}', ''),
        ('@ groups {group}', 'available'),
        ('volume group delete {group}', ''),
        ('@ groups {group}', 'gone'),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
        ('volume group type delete {group_type}', ''),
        ('volume type delete {kind}', ''),
    ],
    'consistency groups': [
        ('volume type create {name}', r'\| id +\| (?P<kind>\S+)'),
        ('consistency group create --volume-type {kind} {name}', r'\| id +\| (?P<group>\S+)'),
        ('@ consistencygroups {group}', 'available'),
        ('volume create --size 1 --type {kind} {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'available'),
        ('consistency group add volume {group} {volume}', ''),
        ('@ consistencygroups {group}', 'available'),
        ('consistency group list', r'{group}'),
        ('consistency group set --name {name}-2 {group}', ''),
        ('@ consistencygroups {group}', 'available'),
        ('consistency group show {group}', r'{name}-2'),
        ('consistency group snapshot create --consistency-group {group} {name}-snap', r'\| id +\| (?P<taken>\S+)'),
        ('@ cgsnapshots {taken}', 'available'),
        ('consistency group snapshot list', ''),  # its SDK drops all that came
        ('consistency group snapshot show {taken}', r'{name}-snap'),
        ('consistency group snapshot delete {taken}', ''),
        ('@ cgsnapshots {taken}', 'gone'),
        ('consistency group remove volume {group} {volume}', ''),
        ('@ consistencygroups {group}', 'available'),
        ('! consistency group delete {group}', 'failed to delete'),  # its SDK names the body's member wrongly
        ('volume group delete {group}', ''),
        ('@ consistencygroups {group}', 'gone'),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
        ('volume type delete {kind}', ''),
    ],
    'messages': [
        ('volume type create --property volume_backend_name=unknown {name}', r'\| id +\| (?P<kind>\S+)'),
        ('volume create --size 1 --type {kind} {name}', r'\| id +\| (?P<volume>\S+)'),
        ('@ volumes {volume}', 'error'),
        ('volume message list', r'\| (?P<message>[0-9a-f-]{{36}}) \| VOLUME_VOLUME_001_003[^\n]*{volume}'),
        ('volume message show {message}', r'{message}'),  # its SDK reads no more of it
        ('volume message delete {message}', ''),
        ('volume delete {volume}', ''),
        ('@ volumes {volume}', 'gone'),
        ('volume type delete {kind}', ''),
    ],
    'deployment': [
        ('volume service list', r'cinder-volume +\| cinderless@xfs-nova +\| nova +\| enabled +\| up'),
        (f'volume service set --disable --disable-reason repairs {NOVA_HOST} cinder-volume', ''),
        ('volume service list --long', r'disabled [^\n]* repairs'),
        (f'volume service set --enable {NOVA_HOST} cinder-volume', ''),
        (f'volume host set --disable {NOVA_HOST}', ''),
        (f'volume host set --enable {NOVA_HOST}', ''),
        (f'! volume host failover --volume-backend other {NOVA_HOST}', 'could not be found'),  # as in Cinder since 3.26
        ('volume backend pool list --long', r'cinderless@xfs-nova#fast'),
        (f'volume backend capability show {NOVA_HOST}', ''),  # shows properties, of which no driver here has any
        ('block storage log level list --service cinder-api', r'chalicelib'),
        ('block storage log level set --service cinder-api --log-prefix chalicelib INFO', ''),
        ('block storage resource filter list', r'volume'),
        ('block storage resource filter show volume', r'volume'),
        ('block storage cluster list', r'Name'),
        ('! block storage cluster show nothing', 'could not be found'),
        ('! block storage cluster set --disable nothing', 'could not be found'),
        # Its SDK requires all of these, and then omits the microversion from the request.
        (f'! block storage cleanup --binary cinder-volume --host {NOVA_HOST} --cluster {NOVA_HOST}',
         'could not be found'),
    ],
    # Not of block storage alone, and commands of every user of it.
    'common': [
        ('availability zone list --volume', r'nova +\| available'),
        ('extension list --volume', r'backups'),
        ('limits show --absolute --project {project}', r'max_total_volumes'),
        ('quota show --volume {project}', r'volumes +\| +10'),
        ('quota set --volumes 77 {project}', ''),
        ('quota show --volume {project}', r'volumes +\| +77'),
        ('quota delete --volume {project}', ''),
        ('versions show --service block-storage', r'3\.71'),
    ],
}  # fmt: skip

ATTACHMENT: Story = [
    ('volume attachment set --initiator iqn.1993-08.org.debian:01:a --host compute-1 {attachment}', 'auth_method'),
    ('volume attachment complete {attachment}', ''),
    ('volume attachment list', r'{attachment}'),
    ('volume attachment show {attachment}', r'attached'),
    ('volume attachment delete {attachment}', ''),
]  # fmt: skip


def teller_of(cloud: Cloud) -> Teller:
    return Teller(
        User(cloud, 'admin'),
        commands.openstack,
        cloud.openstack_environment('admin') | {'OS_VOLUME_API_VERSION': '3.71', 'COLUMNS': '400'},
    )


def facts(teller: Teller) -> dict[str, str]:
    return {'name': unique('named'), 'project': teller.user.project}


@pytest.mark.parametrize('about', STORIES)
def test_commands(cloud: Cloud, about: str) -> None:
    teller = teller_of(cloud)
    teller.tell(STORIES[about], **facts(teller))


def test_attachments(cloud: Cloud) -> None:
    """The command needs a server from Nova, so the test reserves the attachment as Nova does."""
    teller = teller_of(cloud)
    volume = teller.user.volume()
    reserved = teller.user.cinder.attachments.create(volume.id, None, str(uuid.uuid4()))
    teller.tell(ATTACHMENT, attachment=reserved['id'])
    volume.delete()


def test_every_command_has_its_line() -> None:
    entry_points = importlib.metadata.entry_points(group='openstack.volume.v3')
    known = {point.name.replace('_', ' ') for point in entry_points}
    told = {
        name
        for name in known
        for line in commands.lines([*STORIES.values(), ATTACHMENT])
        if f'{line} '.startswith(f'{name} ')
    }
    assert known - told == ELSEWHERE
