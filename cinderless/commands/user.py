"""``cinderless user``: the users of the built-in identity."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from chalicelib.identity.directory import ROLES
from cinderless import users
from cinderless.commands.deploy import profile_option
from cinderless.errors import REFUSED, Failure
from cinderless.instance import client, running, state_dir_option
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group
from cinderless.users import Document, FileStore, Store
from local.settings import STACK

Command = TypeVar('Command', bound=Callable[..., Any])


@click.group(cls=Group)
def user() -> None:
    """List, add and remove users of the built-in identity, and change passwords.

    The users are those of a running local cloud; with --stage of a deployment, with --file of an identity document.
    Passwords are prompted for, or read from the first line of standard input, and stored as hashes.
    """


def _place(command: Command) -> Command:
    """Add the options for the place of the users."""
    options = (
        state_dir_option,
        click.option('--stage', help='The users of the deployment of deploy/STAGE.yaml.'),
        profile_option,
        click.option('--file', type=click.Path(path_type=Path), help='The users in an identity document (JSON).'),
    )
    return functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


@user.command('list')
@_place
@json_option
def list_(as_json: bool, **place: Any) -> None:
    """List the users with their projects and roles."""
    with _opened(**place) as store:
        document = store.read()
    rows = [
        {'name': each['name'], 'project': project, 'roles': list(roles), 'enabled': each.get('enabled', True)}
        for each in document.get('users') or ()
        for project, roles in each['roles'].items()
    ]
    if as_json:
        print_json(rows)
    else:
        cells = [(row['name'], row['project'], ', '.join(row['roles']), row['enabled']) for row in rows]
        print_table(['name', 'project', 'roles', 'enabled'], cells)


@user.command()
@click.argument('name')
@click.option('--project', required=True, help='The project; it is created if it does not exist.')
@click.option('--role', 'roles', multiple=True, default=['member'], show_default=True,
              type=click.Choice(sorted(ROLES)), help='The role there; may be repeated.')  # fmt: skip
@_place
def add(name: str, project: str, roles: tuple[str, ...], **place: Any) -> None:
    """Add a user with a role in a project."""
    password = _password()
    _change(lambda document: users.add(document, name, password, project, roles), f'{name} is added', place)


@user.command()
@click.argument('name')
@_place
def passwd(name: str, **place: Any) -> None:
    """Change the password of a user."""
    password = _password()
    done = f'the password of {name} is changed'
    _change(lambda document: users.change_password(document, name, password), done, place)


@user.command()
@click.argument('name')
@_place
def remove(name: str, **place: Any) -> None:
    """Remove a user and its application credentials. The records of its projects stay."""
    _change(lambda document: users.remove(document, name), f'{name} is removed', place)


def _change(change: Callable[[Document], Document], done: str, place: dict[str, Any]) -> None:
    with _opened(**place) as store:
        store.write(change(store.read()))
        click.echo(f'{done}: {store.effect}')


def _password() -> str:
    """Prompt twice on a terminal; else read a line. Raises Failure for none."""
    if sys.stdin.isatty():
        text: str = click.prompt('Password', hide_input=True, confirmation_prompt='The same again')
        return text
    text = sys.stdin.readline().rstrip('\n')
    if not text:
        raise Failure('standard input has no password in its first line', REFUSED)
    return text


@contextlib.contextmanager
def _opened(state_dir: Path, stage: str | None, profile: str | None, file: Path | None) -> Iterator[Store]:
    if stage and file:
        raise click.UsageError('give --stage or --file, not both')
    if file:
        with users.locked(file.absolute().parent):
            yield FileStore(file)
    elif stage:
        yield _deployed(stage, profile)
    else:
        found = running(state_dir)
        with users.locked(found.folder):
            yield users.of_stack(functools.partial(client, found), STACK)


def _deployed(stage: str, profile: str | None) -> Store:
    import boto3

    from infra.stage import load

    settings = load(stage, checked=False)
    session = boto3.Session(profile_name=profile, region_name=settings.region)
    return users.of_stack(session.client, settings.stack)
