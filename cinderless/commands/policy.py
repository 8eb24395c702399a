"""``cinderless policy``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cinderless.commands.backends import LOCAL_STACK, clients_of
from cinderless.commands.deploy import profile_option
from cinderless.errors import FAILED, REFUSED, Failure
from cinderless.instance import state_dir_option
from cinderless.output import json_option, print_json, print_table
from cinderless.program import Group

if TYPE_CHECKING:
    from chalicelib.context import Context
    from chalicelib.rules.policy_overrides import Overrides

#: Ids of the caller, of its project and of another one, unless options name others.
USER, PROJECT, OTHER_PROJECT = 'user', 'project', 'another project'


@click.group(cls=Group)
def policy() -> None:
    """Check a policy file (policy.yaml), or show the policies in force."""


@policy.command()
@click.argument('file', type=click.Path(path_type=Path))
@click.option('--role', 'roles', multiple=True, help='Decide for a caller with this role; may be repeated.')
@click.option('--project', default=PROJECT, show_default=True, help="The id of the caller's project.")
@click.option('--user', default=USER, show_default=True, help="The caller's id.")
@click.option('--target-project', default=OTHER_PROJECT, show_default=True, help='The id of the project of objects.')
@json_option
def check(file: Path, roles: tuple[str, ...], project: str, user: str, target_project: str, as_json: bool) -> int:
    """Check a policy.yaml as deploy and serve do, and report what it means.

    With --role, print each rule that the caller passes: for own objects, for those of other users of the project, and
    for those of --target-project. Exit code 1: a rule is not usable.
    """
    from infra import policy_file

    rules = _read(file)
    problems, notes = list(policy_file.problems(rules)), policy_file.notes(rules)
    decided = _decisions(rules, roles, project, user, target_project) if roles else []
    if as_json:
        facts = {'problems': [dict(zip(('rule', 'problem'), each, strict=True)) for each in problems]}
        print_json({**facts, 'notes': [note._asdict() for note in notes], 'decisions': decided})
        return FAILED if problems else 0
    for name, problem in problems:
        click.echo(f'{file}: {name} {problem}', err=True)
    for note in notes:
        click.echo(f'note: {note.rule} {note.text}')
    if decided:
        print_table(list(decided[0]), [list(row.values()) for row in decided])
    if not problems:
        click.echo(f'{file}: {len(rules)} rules are usable')
    return FAILED if problems else 0


def _read(file: Path) -> dict[str, Any]:
    """Return the rules of a file. Raises Failure."""
    from infra import policy_file

    try:
        return policy_file.read(file.read_text(encoding='utf-8'))
    except policy_file.Refused as refused:
        raise Failure(f'{file}: {refused}', REFUSED) from None
    except UnicodeDecodeError:
        raise Failure(f'{file} is not UTF-8: convert it, or give the right file', REFUSED) from None


def _decisions(
    rules: Mapping[str, Any], roles: tuple[str, ...], project: str, user: str, other: str
) -> list[dict[str, Any]]:
    """Return a row for each rule: for whose objects the caller passes it."""
    from chalicelib.context import Context, implied_roles
    from chalicelib.rules.policies import ANY_AUTHENTICATED, POLICIES
    from chalicelib.rules.policy_overrides import Overrides

    overrides = Overrides(rules)
    held = frozenset(role.lower() for role in implied_roles(roles))
    caller = Context(user_id=user, project_id=project, roles=held, overrides=overrides)
    caller = Context(
        user_id=user, project_id=project, roles=held, overrides=overrides, admin=overrides.is_admin(caller)
    )
    objects = {
        'own': {'project_id': project, 'user_id': user},
        'of the project': {'project_id': project, 'user_id': f'another than {user}'},
        'of another project': {'project_id': other, 'user_id': f'another than {user}'},
    }
    return [
        {'rule': rule, **{whose: _passes(overrides, caller, rule, facts) for whose, facts in objects.items()}}
        for rule in sorted(POLICIES)
        if rule != ANY_AUTHENTICATED
    ]


def _passes(overrides: Overrides, caller: Context, rule: str, facts: Mapping[str, str]) -> bool:
    """Return whether the caller finds an object of another project and passes the rule."""
    import types

    if facts['project_id'] != caller.project_id and not caller.is_admin:
        return False
    return overrides.allows(caller, rule, None, lambda: types.SimpleNamespace(**facts))


@policy.command()
@click.argument('rule', required=False)
@click.option('--all', 'all_rules', is_flag=True, help='Show the rules that have their defaults, too.')
@click.option('--file', type=click.Path(path_type=Path), help='The rules of this file, instead of those in force.')
@state_dir_option
@click.option('--stage', help='The rules of the deployment of deploy/STAGE.yaml, instead of the local cloud.')
@profile_option
@json_option
def show(
    rule: str | None,
    all_rules: bool,
    file: Path | None,
    state_dir: Path,
    stage: str | None,
    profile: str | None,
    as_json: bool,
) -> None:
    """Show the policies in force, and where each comes from: those that overrides change, or one RULE."""
    given = _read(file) if file else _in_force(state_dir, stage, profile)
    rows = [row for row in _rows(given) if rule in (None, row['rule'])]
    if rule and not rows:
        from infra.policy_file import KNOWN, similar

        raise Failure(f'there is no rule {rule!r}{similar(rule, KNOWN)}', REFUSED)
    if not (rule or all_rules):
        rows = [row for row in rows if row['from'] != 'default']
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        click.echo("no overrides: Cinder's default policies apply (--all shows them)")


def _in_force(state_dir: Path, stage: str | None, profile: str | None) -> dict[str, Any]:
    """Return the overrides of a deployment, or of the running local cloud; none if it has no document of them."""
    from chalicelib.rules.policy_overrides import document

    stack, clients = clients_of(state_dir, stage, profile)
    ssm = clients('ssm')
    try:
        return document(ssm.get_parameter(Name=f'/{stack}/policy-overrides')['Parameter']['Value'])
    except ssm.exceptions.ParameterNotFound:
        return {}
    except ValueError:
        raise Failure(
            f'/{stack or LOCAL_STACK}/policy-overrides is not a JSON object: every request is refused'
        ) from None


def _rows(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each rule as it is written, and where it is from."""
    from chalicelib.rules.policies import EXTENSIONS
    from chalicelib.rules.policy_overrides import Overrides
    from infra.policy_file import KNOWN, changes

    overrides = Overrides(given)
    for rule in sorted({*KNOWN, *given}):
        written, name = overrides.source(rule)
        origin = 'override' if name == rule else f'override of its former name {name}' if name else 'default'
        if origin == 'override' and rule in EXTENSIONS:
            origin = 'override, with the default'
        if origin == 'default' and (helper := changes(rule, overrides)):
            origin = f'default, through the override of {helper}'
        yield {'rule': rule, 'check': written if isinstance(written, str) else str(written), 'from': origin}
