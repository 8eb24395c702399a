"""The console, as a user sees it: Chromium clicks, QEMU compares the bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from infra import console as libraries
from local.hypervisor import Hypervisor
from tests.system.browser import Visitor, browser, visitor
from tests.system.clients import User, region, unique
from tests.system.cloud import Cloud, family

__all__ = ['browser', 'visitor']

pytestmark = pytest.mark.xdist_group('console')

MIB = 1 << 20

#: Names that a page must show as they are: markup, right to left text, the longest one, and what ends a script.
HOSTILE = [
    '<script>window.hacked=1</script>',
    '<img src=x onerror="window.hacked=1">',
    '\u202egnihtemos \u05e9\u05dc\u05d5\u05dd',
    'x' * 255,
    '${window.hacked=1}</title>&amp;"\'',
]


@pytest.fixture
def alt(cloud: Cloud) -> Iterator[User]:
    """A member, whose project is this module's."""
    user = User(cloud, 'alt')
    yield user
    user.tidy()


def image(path: Path, seed: int) -> Path:
    """A raw image of 1 GiB with some random data, also at its end."""
    draw = random.Random(seed)
    with path.open('wb') as file:
        file.truncate(1024 * MIB)
        for place in (0, 17, 1023):
            file.seek(place * MIB)
            file.write(draw.randbytes(MIB))
    return path


def attach(visitor: Visitor, host: Hypervisor) -> dict[str, Any]:
    """Attach the volume of this page; return what the page shows for the host."""
    visitor.press('Attach')
    visitor.fill(host='compute-1', initiator=host.initiator)
    visitor.send('Attach')
    visitor.picture('attached')
    visitor.press('Show the password')
    names = ('portal', 'target', 'lun', 'user', 'password')
    fact = {name: visitor.page.locator(f'[data-fact={name}]').inner_text() for name in names}
    return {
        'target_portal': fact['portal'],
        'target_iqn': fact['target'],
        'target_lun': int(fact['lun']),
        'auth_username': fact['user'],
        'auth_password': fact['password'],
    }


def detach(visitor: Visitor) -> None:
    visitor.press('Detach')
    visitor.send('Detach')
    visitor.status('available')


def test_the_four_workflows_by_clicking_with_real_bytes(visitor: Visitor, alt: User, tmp_path: Path) -> None:
    host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
    data, page = image(tmp_path / 'data.raw', 7), visitor.page
    visitor.enter('alt')
    visitor.go('volumes', 'Volumes')
    visitor.press('Create volume')
    name = unique('clicked')
    visitor.fill(name=name, size='1')
    expect(page.locator('dialog .notice').last).to_contain_text('can take this volume')
    visitor.send('Create')
    page.get_by_role('link', name=name).click()
    visitor.status('available')
    info = attach(visitor, host)
    host.write_image(data, info)
    visitor.press('Back up')
    visitor.fill(name='by click')
    visitor.send('Back up')
    visitor.picture('volume')
    page.get_by_role('link', name='by click').first.click()
    visitor.status('available')
    page.go_back()
    host.io(info, 'write -P 0x5a 0 2M')
    detach(visitor)
    page.get_by_role('link', name='by click').first.click()
    visitor.press('Restore')
    visitor.fill(volume_id=alt.cinder.volumes.list(search_opts={'name': name})[0].id)
    visitor.sees('All data of the chosen volume is replaced')
    visitor.send('Restore')
    page.get_by_role('link', name='restore backup').first.click()
    visitor.sees('Complete Restore')
    expect(page.locator('.heading .badge')).to_have_text('succeeded')
    visitor.picture('request')
    visitor.go('volumes', 'Volumes')
    page.get_by_role('link', name=name).click()
    visitor.status('available')
    info = attach(visitor, host)
    assert host.compare(data, info)
    detach(visitor)
    visitor.expected.add(404)
    visitor.press('Delete')
    visitor.send('Delete permanently')
    visitor.sees('The volume is gone')


def test_a_wrong_password_is_said_and_the_form_stays(visitor: Visitor) -> None:
    visitor.expected.add(401)
    visitor.log_in('demo', 'wrong')
    expect(visitor.page.get_by_role('alert')).to_contain_text('The request you have made requires authentication')
    expect(visitor.page.get_by_label('User')).to_have_value('demo')


def test_a_reader_sees_no_button_that_is_refused(visitor: Visitor, cloud: Cloud) -> None:
    demo = User(cloud, 'demo')
    volume = demo.volume()
    visitor.enter('reader')
    for screen, title in [('snapshots', 'Snapshots'), ('protection', 'Backups'), ('volumes', 'Volumes')]:
        visitor.go(screen, title)
        expect(visitor.page.get_by_role('button', name='Create volume')).to_have_count(0)
    visitor.go(f'volumes/{volume.id}', volume.name)
    visitor.sees('create volume')
    names = {button.inner_text() for button in visitor.page.get_by_role('button').all()}
    assert not names & {'Attach', 'Back up', 'Snapshot', 'Extend', 'Delete', 'Rename', 'Transfer', 'Retype'}
    expect(visitor.page.get_by_role('link', name='Quotas')).to_have_count(0)
    demo.cinder.volumes.delete(volume.id)


@pytest.mark.parametrize('place', range(len(HOSTILE)))
def test_hostile_names_are_text(visitor: Visitor, alt: User, place: int) -> None:
    volume = alt.volume(name=HOSTILE[place], description=HOSTILE[place], metadata={'key': HOSTILE[place]})
    visitor.enter('alt')
    visitor.go('volumes', 'Volumes')
    expect(visitor.page.locator('td .name').first).to_have_text(HOSTILE[place])
    visitor.page.locator('td a.name').first.click()
    expect(visitor.page.get_by_role('heading', level=1)).to_have_text(HOSTILE[place])
    for screen, title in [('requests', 'Requests'), ('topology', 'Topology and cost'), ('protection', 'Backups')]:
        visitor.go(screen, title)
        expect(visitor.page.locator('.name').first).to_have_text(HOSTILE[place])
    assert visitor.page.evaluate('window.hacked') is None
    assert visitor.page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    alt.cinder.volumes.delete(volume.id)


def test_a_thousand_volumes_have_pages_order_and_search(visitor: Visitor, cloud: Cloud, alt: User) -> None:
    volume = alt.volume()
    table, dynamodb = cloud.ready['tables']['volumes'], cloud.client('dynamodb')
    key = {'project_id': {'S': alt.project}, 'id': {'S': volume.id}}
    item = dynamodb.get_item(TableName=table, Key=key)['Item']
    copies = [{**item, 'id': {'S': str(uuid.uuid4())}, 'name': {'S': f'many-{number:04}'}} for number in range(1000)]
    write(cloud, table, [{'PutRequest': {'Item': copy}} for copy in copies])
    try:
        visitor.enter('alt')
        expect(visitor.page.locator('a.tile').first).to_have_text('1000+volumes')
        visitor.go('volumes', 'Volumes')
        expect(visitor.page.locator('tbody tr')).to_have_count(100)
        visitor.press('Name')
        expect(visitor.page.locator('tbody tr').first).to_contain_text('many-0000')
        visitor.press('Next')
        expect(visitor.page.locator('tbody tr').first).to_contain_text('many-0100')
        visitor.page.get_by_label('Search').fill('many-0777')
        expect(visitor.page.locator('tbody tr')).to_have_count(1)
        visitor.go('protection', 'Backups')
        visitor.sees('of 1000 volumes have no backup')
    finally:
        keys = [{'project_id': copy['project_id'], 'id': copy['id']} for copy in copies]
        write(cloud, table, [{'DeleteRequest': {'Key': key}} for key in keys])


def write(cloud: Cloud, table: str, requests: list[Any]) -> None:
    for place in range(0, len(requests), 25):
        cloud.client('dynamodb').batch_write_item(RequestItems={table: requests[place : place + 25]})


def test_a_backend_that_fails_is_shown_where_it_failed(visitor: Visitor, cloud: Cloud, alt: User) -> None:
    """The storage hosts' agents are stopped while a snapshot is deleted; the attempts are in the waterfall."""
    volume = alt.volume()
    agents = [pid for pid in family(cloud.ready['pid']) if b'appliance' in Path(f'/proc/{pid}/cmdline').read_bytes()]
    assert agents
    visitor.enter('alt')
    visitor.go(f'volumes/{volume.id}', volume.name)
    for pid in agents:
        os.kill(pid, signal.SIGSTOP)
    try:
        visitor.press('Snapshot')
        visitor.fill(name='under an outage')
        visitor.send('Create snapshot')
        visitor.page.get_by_role('link', name='Follow it').click()
        visitor.status('running')
        visitor.sees('The storage backend gave no answer in time')
        visitor.picture('outage')
    finally:
        for pid in agents:
            os.kill(pid, signal.SIGCONT)
    visitor.status('succeeded')


def test_an_administrator_sees_all_projects(visitor: Visitor, alt: User) -> None:
    volume = alt.volume(name=unique('elsewhere'))
    visitor.enter('admin')
    visitor.go('volumes', 'Volumes')
    expect(visitor.page.get_by_role('link', name=volume.name)).to_have_count(0)
    visitor.page.get_by_label('All projects').check()
    visitor.page.get_by_role('link', name=volume.name).click()
    visitor.status('available')
    visitor.go('topology', 'Topology and cost')
    expect(visitor.page.locator('svg.graph')).to_contain_text('xfs-nova')
    expect(visitor.page.locator(f'svg.graph a[href="#/volumes/{volume.id}"]')).to_be_visible()
    alt.cinder.volumes.delete(volume.id)


def test_a_refused_request_is_explained_and_the_form_stays(visitor: Visitor) -> None:
    """Its message, its id, and a page of what is known of it, in another tab of the same session."""
    visitor.expected.add(413)
    visitor.enter('demo')
    visitor.press('Create volume')
    visitor.fill(name='too much', size='900000')
    visitor.page.locator('dialog').get_by_role('button', name='Create', exact=True).click()
    alert = visitor.page.locator('dialog').get_by_role('alert')
    expect(alert).to_contain_text('VolumeSizeExceedsAvailableQuota')
    with visitor.page.expect_popup() as opened:
        alert.get_by_role('link').click()
    expect(opened.value.get_by_role('heading', name='Refused request')).to_be_visible()
    expect(opened.value.get_by_text('VolumeSizeExceedsAvailableQuota').first).to_be_visible()
    expect(opened.value.get_by_text('POST /volumes')).to_be_visible()
    expect(visitor.page.locator('dialog [name=name]')).to_have_value('too much')


def test_dead_letters_are_sent_again(visitor: Visitor, cloud: Cloud) -> None:
    sqs, urls = cloud.client('sqs'), cloud.ready['queues']
    dead = next(url for url in urls.values() if url.endswith('-work-dead'))
    message = {'action': 'create', 'resource': 'volume', 'id': 'gone', 'project_id': 'demo', 'request_id': 'req-dead'}
    sqs.send_message(QueueUrl=dead, MessageBody=json.dumps(message))
    visitor.enter('admin')
    visitor.go('dead-letters', 'Dead letters')
    visitor.sees('req-dead')
    visitor.press('Send again')
    visitor.send('Send again')
    visitor.sees('None: all accepted work has begun.')


def test_an_action_can_be_copied_as_curl_and_runs(visitor: Visitor, cloud: Cloud, alt: User) -> None:
    visitor.page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    visitor.enter('alt')
    visitor.press('Create volume')
    name = unique("it's copied")
    visitor.fill(name=name, size='1')
    visitor.page.locator('dialog').get_by_role('button', name='Copy as curl').click()
    visitor.sees('curl command copied')
    command = visitor.page.evaluate('navigator.clipboard.readText()')
    token = alt.sdk.session.get_token()
    assert token not in command
    answer = subprocess.run(
        ['bash', '-c', command], env={**os.environ, 'OS_TOKEN': token}, capture_output=True, check=True
    )
    made = json.loads(answer.stdout)['volume']
    assert made['name'] == name
    alt.wait(alt.cinder.volumes, made['id'])
    alt.cinder.volumes.delete(made['id'])


def test_an_expired_token_asks_again_and_loses_nothing(visitor: Visitor, cloud: Cloud) -> None:
    visitor.expected.add(401)
    visitor.enter('demo')
    visitor.go('volumes', 'Volumes')
    visitor.press('Create volume')
    visitor.fill(name='kept over the log-in', size='1')
    token = visitor.page.evaluate("JSON.parse(sessionStorage.getItem('cinderless-session')).token")
    tokens = f'{cloud.ready["identity"]}/auth/tokens'
    region(cloud, 'demo').get_session().delete(tokens, headers={'X-Subject-Token': token, 'X-Auth-Token': token})
    visitor.page.locator('dialog').get_by_role('button', name='Create', exact=True).click()
    visitor.sees('Your session has expired')
    visitor.page.locator('#login-password').fill('demo')
    visitor.page.get_by_role('button', name='Log in', exact=True).click()
    expect(visitor.page.locator('dialog')).to_have_count(0)
    visitor.page.get_by_role('link', name='kept over the log-in').click()
    visitor.status('available')
    visitor.press('Delete')
    visitor.expected.add(404)
    visitor.send('Delete permanently')
    visitor.sees('The volume is gone')


def test_logging_out_revokes_the_token(visitor: Visitor, cloud: Cloud) -> None:
    visitor.enter('demo')
    kept = json.loads(visitor.page.evaluate("sessionStorage.getItem('cinderless-session')"))
    assert kept['token'] not in visitor.page.url
    assert visitor.page.evaluate('localStorage.length') == 0
    with visitor.page.expect_response(lambda answer: answer.request.method == 'DELETE'):
        visitor.press('Log out')
    expect(visitor.page.get_by_role('button', name='Log in', exact=True)).to_be_visible()
    assert visitor.page.evaluate('sessionStorage.length') == 0
    visitor.page.wait_for_load_state('networkidle')
    session = region(cloud, 'demo').get_session()
    for token in {kept['token'], kept['base']}:
        answer = session.get(
            f'{cloud.ready["identity"]}/auth/tokens', headers={'X-Subject-Token': token}, raise_exc=False
        )
        assert answer.status_code == 404


def test_the_keyboard_and_a_screen_reader_can_use_every_screen(visitor: Visitor, alt: User) -> None:
    """axe-core's rules for WCAG 2.2 AA, in light and dark; and a form that is filled without a pointer."""
    volume = alt.volume()
    page, axe = visitor.page, libraries.fetch_axe().read_text(encoding='utf-8')
    page.goto(visitor.url)
    page.get_by_label('User').wait_for()
    page.evaluate(axe)
    assert broken(visitor) == []
    visitor.enter('admin')
    for scheme in ('light', 'dark'):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for screen, title in [
            ('', 'Overview'), ('volumes', 'Volumes'), ('requests', 'Requests'), ('protection', 'Backups'),
            ('placement', 'Placement'), ('topology', 'Topology and cost'), ('services', 'Services and pools'),
            ('types', 'Volume types'), ('quotas', 'Quotas'), ('snapshots', 'Snapshots'), ('qos', 'QoS specs'),
            ('dead-letters', 'Dead letters'), ('nonsense', 'Page not found'),
        ]:  # fmt: skip
            visitor.go(screen, title)
            expect(page.get_by_text('Loading…')).to_have_count(0)
            page.evaluate(axe)
            assert broken(visitor) == [], (screen, scheme)
        visitor.picture(f'quotas-{scheme}')
    visitor.go('quotas', 'Quotas')
    visitor.press('Change')
    assert broken(visitor) == []
    page.keyboard.press('Escape')
    expect(page.locator('dialog')).to_have_count(0)
    alt.cinder.volumes.delete(volume.id)


def broken(visitor: Visitor) -> list[Any]:
    rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']
    found = visitor.page.evaluate('async tags => (await axe.run({runOnly: tags})).violations', rules)
    return [(one['id'], [node['html'][:200] for node in one['nodes'][:3]]) for one in found]
