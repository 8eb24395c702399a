from __future__ import annotations

import ast
import stat
import subprocess
from pathlib import Path

import pytest

import appliance
from appliance.__main__ import open_store, read_secret
from appliance.daemon import address, choose_control_port, join
from appliance.install import install
from appliance.keys import Keys
from appliance.options import GIB, StoreOption, advertised, parser, pools, size, store
from chalicelib.drivers.appliance import ApplianceDriver

PACKAGE = Path(appliance.__file__).parent


def test_defaults_suit_a_host() -> None:
    options = parser().parse_args([])
    assert (options.command, options.listen, options.portal) == ('serve', ('127.0.0.1', 18700), None)
    assert options.store == StoreOption('dir', '/srv/cinderless')
    assert options.pools == {'default': 0}
    assert options.state_dir == Path('/var/lib/cinderless-appliance')


def test_the_local_cloud_s_command_line() -> None:
    addresses = '--listen 127.0.0.1:0 --portal 127.0.0.1:3260 --portal [::1]:3260'
    places = '--state-dir x --secret-file x/secret --store xfs-image:x/img:30G --pools fast:10,slow:10,archive'
    options = parser().parse_args(f'{addresses} {places}'.split())
    assert options.store == StoreOption('xfs-image', str(Path('x/img').absolute()), 30 * GIB)
    assert options.pools == {'fast': 10 * GIB, 'slow': 10 * GIB, 'archive': 0}
    assert options.portal == ['127.0.0.1:3260', '[::1]:3260']
    assert options.state_dir.is_absolute()


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ('--advertise 0.0.0.0:3260', 'one that they can reach'),
        ('--advertise [::]:3260', 'one that they can reach'),
        ('--advertise host:0', 'set one'),
        ('--portal 192.0.2.1:0', 'set one'),
        ('--portal 192.0.2.1', 'not of the form ip:port'),
        ('--listen host:http', 'not of the form ip:port'),
        ('--listen 1.2.3.4:70000', 'not of the form ip:port'),
        ('--store nfs:/x', 'not a store'),
        ('--store lvm:vg', 'not a store'),
        ('--store lvm:-vg/pool', 'not a store'),
        ('--store lvm:vg/po,ol', 'not a store'),
        ('--store xfs-image:/x:10X', 'not a size'),
        ('--store dir:/a,b', 'a comma'),
        ('--state-dir /a=b', 'an equals sign'),
        ('--pools a,../b', 'not a pool name'),
        ('--pools a:x', 'invalid literal'),
        ('--pools a,a:3', 'twice'),
        ('--max-over-subscription 0.5', '1 or more'),
        ('remove', 'invalid choice'),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(arguments.split())
    assert reason in capsys.readouterr().err


def test_small_parsers() -> None:
    assert [size(text) for text in ('512', '300M', '20G', '1T')] == [512, 300 * 1024**2, 20 * GIB, 1024 * GIB]
    assert address('[::1]:80') == ('::1', 80)
    assert address('192.0.2.1:0') == ('192.0.2.1', 0)
    assert store('lvm:vg0/thin-pool') == StoreOption('lvm', 'vg0/thin-pool')
    assert pools('a:1,b') == {'a': GIB, 'b': 0}


def test_addresses_are_read_as_they_are_written() -> None:
    for text in ('192.0.2.1:3260', '[2001:db8::1]:3260'):
        assert join(*address(text)) == text


def test_every_option_is_documented() -> None:
    readme = (PACKAGE / 'README.md').read_text()
    for action in parser()._actions:
        for option in set(action.option_strings) - {'-h', '--help', '--root'}:
            assert f'`{option}' in readme, option


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'secret'
    path.write_text('x' * 40 + '\n')
    path.chmod(0o640)
    with pytest.raises(ValueError, match='chmod 600'):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == b'x' * 40


def test_hosts_get_an_address_that_they_can_reach() -> None:
    assert advertised(['192.0.2.1:3260'], []) == ['192.0.2.1:3260']
    assert advertised(['0.0.0.0:3260'], ['storage.example:3260']) == ['storage.example:3260']
    with pytest.raises(ValueError, match='one that they can reach'):
        advertised(['0.0.0.0:3260'], [])
    with pytest.raises(ValueError, match='give one for each'):
        advertised(['192.0.2.1:3260', '192.0.2.2:3260'], ['storage.example:3260'])


def test_paths_may_have_spaces_except_in_a_unit(tmp_path: Path) -> None:
    place = tmp_path / 'my volumes'
    words = ['--store', f'dir:{place}', '--state-dir', str(tmp_path), '--root', str(tmp_path)]
    options = parser().parse_args(words)
    assert options.store == StoreOption('dir', str(place))
    with pytest.raises(ValueError, match=r'my volumes.*may hold letters, digits'):
        install(words, options)
    assert not list(tmp_path.iterdir())


def test_an_image_is_not_for_a_tgtd_that_cannot_see_its_mount(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='own tgtd'):
        open_store(StoreOption('xfs-image', str(tmp_path / 'img'), GIB), tmp_path, ['a'], existing_tgtd=True)
    assert list(tmp_path.iterdir()) == []


def installed(root: Path, *more: str) -> str:
    words = ['install', '--root', str(root), '--listen', '192.0.2.10:18700', '--portal', '192.0.2.10:3260', *more]
    return install(words, parser().parse_args(words))


def test_install_puts_everything_where_the_unit_looks_for_it(tmp_path: Path) -> None:
    said = installed(tmp_path, '--pools', 'fast:10')
    unit = (tmp_path / 'etc/systemd/system/cinderless-appliance.service').read_text()
    environment = (tmp_path / 'etc/cinderless-appliance/environment').read_text()
    secret = tmp_path / 'etc/cinderless-appliance/secret'
    assert 'ExecStart=/usr/bin/python3 -m appliance serve $OPTIONS' in unit
    assert environment == 'OPTIONS=--listen 192.0.2.10:18700 --portal 192.0.2.10:3260 --pools fast:10\n'
    assert (tmp_path / 'opt/cinderless/appliance/__main__.py').exists()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    Keys(read_secret(secret))
    assert 'https://192.0.2.10:18700' in said
    assert secret.read_text().strip() not in said


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """It only warns of a key that it does not know."""
    installed(tmp_path)
    unit = tmp_path / 'etc/systemd/system/cinderless-appliance.service'
    done = subprocess.run(['systemd-analyze', 'verify', unit], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('', '')


def test_what_install_prints_is_what_the_driver_takes(tmp_path: Path) -> None:
    said = installed(tmp_path)
    pinned = said.partition('"fingerprint": "')[2].partition('"')[0]
    ApplianceDriver('b', {'url': 'https://192.0.2.10:18700', 'fingerprint': pinned, 'secret': 'x' * 40})


def test_installing_again_keeps_the_secret_and_the_certificate(tmp_path: Path) -> None:
    first = installed(tmp_path)
    secret = (tmp_path / 'etc/cinderless-appliance/secret').read_text()
    again = installed(tmp_path)
    assert (tmp_path / 'etc/cinderless-appliance/secret').read_text() == secret
    assert again == first


def sources() -> list[Path]:
    return sorted(PACKAGE.glob('*.py'))


@pytest.mark.parametrize('path', sources(), ids=lambda path: path.name)
def test_a_storage_host_s_python_may_be_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    statements = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert any(node.module == '__future__' for node in statements) or not tree.body[1:] or path.name == '__init__.py'
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    newer = {'slots', 'kw_only', 'strict'} & {keyword.arg for call in calls for keyword in call.keywords}
    assert not newer, f'{newer} came with 3.10'


@pytest.mark.parametrize('path', sources(), ids=lambda path: path.name)
def test_the_agent_needs_the_standard_library_only(path: Path) -> None:
    import sys

    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or '']
        else:
            continue
        for module in modules:
            assert module.partition('.')[0] in {*sys.stdlib_module_names, 'appliance'}


def test_the_control_port_is_remembered(tmp_path: Path) -> None:
    memory = tmp_path / 'control-port'
    chosen = choose_control_port(memory)
    assert choose_control_port(memory) == chosen == int(memory.read_text())
    memory.write_text('')  # the agent ended while it wrote
    assert choose_control_port(memory) == int(memory.read_text())


def test_a_control_port_that_cannot_be_read_is_not_chosen_again(tmp_path: Path) -> None:
    """The tgtd that has it may be running: a second one would serve the same files."""
    (tmp_path / 'control-port').mkdir()
    with pytest.raises(IsADirectoryError):
        choose_control_port(tmp_path / 'control-port')
