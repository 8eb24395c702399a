"""The check of policy files: what is refused, what is reported, and the parameter that is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from chalicelib.rules.policies import ANY_AUTHENTICATED, EXTENSIONS, POLICIES
from chalicelib.rules.policy_overrides import HELPERS, RENAMED, WITHOUT_ROUTE, Overrides, default_check
from chalicelib.rules.policy_overrides import document as rules_of
from cinderless.program import main
from infra import policy_file, stage
from infra.policy_file import Refused, check, document, notes, read
from local.settings import Refused as StartRefused
from local.settings import Settings
from tests.policies import samples
from tests.unit.policy_defaults import RULES

#: A rule that is not usable -> a part of the advice.
WRONG = [
    ('"volume:get": "role:admin or"', 'volume:get has its end where a check'),
    ('"volume:get": "role:a role:b"', 'volume:get has a check where "and" or "or" should be'),
    ('"volume:get": "(role:a"', 'has its end where ")" should be'),
    ('"volume:get": "role:a)"', 'has ")" where "and" or "or" should be'),
    ('"volume:get": "and"', 'has "and" where a check'),
    ('"volume:get": "not"', 'has its end where a check'),
    ('"volume:get": "admin"', "has 'admin', which is not a check: write kind:value"),
    ('"volume:get": "\'role:admin\'"', 'has a text in quotes where a check'),
    ('"volume:get":', 'is neither a text nor a list: write "@"'),
    ('"volume:get": 7', 'is neither a text nor a list'),
    ('"volume:get": [7]', 'has 7 in its list'),
    ('"volume:get": [[7]]', 'has 7, which is not a check'),
    ('"volume:get": " "', 'has its end where a check'),
    ('"volume:get": "rule:volume:gett"', "'volume:gett', which does not exist: did you mean 'volume:get'?"),
    ('"volume:get": "rule:x"', 'does not exist: define it, or remove the reference'),
    ('"volume:get": "rule:volume:get"', 'refers to itself (volume:get -> volume:get)'),
    ('a: "rule:b"\nb: "not (rule:c or @)"\nc: [["rule:a"]]', 'a refers to itself (a -> b -> c -> a)'),
    ('"volume:get": "http://policies/%(name)s"', 'checks by another service are not supported'),
    ('"volume:get": "class:x"', "has 'class' before a colon"),
    ('"volume:get": ":x"', "has '' before a colon"),
    ('"volume:get": "user_id:%s"', 'write %(name)s for an attribute of the object'),
    ('"volume:get": "user_id:%(id)d"', 'write %(name)s for an attribute of the object'),
    ('"volume:get": "user_id:%(id)999999999s"', 'has a width'),
    (f'"volume:get": "{"(" * 60}role:a{")" * 60}"', 'is nested deeper than 50'),
    (f'"volume:get": "{"not " * 60}role:a"', 'is nested deeper than 50'),
    (f'{ANY_AUTHENTICATED}: "@"', 'is not a rule of Cinder: remove it'),
]

#: A text that is not a policy file -> a part of the advice.
NO_FILE = [
    ('"a": "b', 'neither YAML nor JSON'),
    ('- a', 'not a policy file: give names and rules'),
    ('role:admin', 'not a policy file'),
    ('7: "@"', 'the name 7 is not a text'),
    ('\n'.join(f'r{n}: "@"' for n in range(1001)), '1001 rules: at most 1000'),
]


@pytest.mark.parametrize(('text', 'advice'), WRONG)
def test_a_rule_that_is_not_usable_is_refused_in_one_line(text: str, advice: str) -> None:
    with pytest.raises(Refused) as refusal:
        check(read(text))
    assert advice in str(refusal.value)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize(('text', 'advice'), NO_FILE)
def test_a_text_that_is_no_policy_file_is_refused(text: str, advice: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(text)
    assert advice in str(refusal.value)
    assert '\n' not in str(refusal.value)


NOTES = [
    ('"volume:gett": "role:x"', 'volume:gett', "no such rule, and no rule refers to it: did you mean 'volume:get'?"),
    ('x: "@"\n"volume:get": "rule:x"', 'x', 'allows every caller'),
    ('"volume_extension:types_manage": "role:x"', 'volume_extension:types_manage', 'it applies to them; rename it'),
    ('"volume_extension:types_manage": "rule:admin_api"', 'volume_extension:types_manage', 'and has no effect'),
    ('"volume:get": "rule:xena_system_admin_or_project_reader"', 'volume:get', 'is the default: it may be removed'),
    ('"backup:scrub": "role:x"', 'backup:scrub', 'an override can only restrict it'),
    ('default: "!"', 'default', 'in place of rules that do not exist'),
    ('"volume:get": "tenant:%(tenant_id)s"', 'volume:get', 'compares tenant, which no caller has'),
    ('"volume:get": "user_id:%(tenant_id)s"', 'volume:get', 'compares %(tenant_id)s, which no object has'),
]


@pytest.mark.parametrize(('text', 'rule', 'note'), NOTES)
def test_what_is_not_plain_is_reported(text: str, rule: str, note: str) -> None:
    found = notes(read(text))
    assert any(each.rule == rule and note in each.text for each in found), found
    check(read(text))


def test_policies_of_operators_are_usable() -> None:
    for name, text in {**samples.FILES, **samples.generated()}.items():
        if name != 'broken':
            check(read(text))


@pytest.mark.parametrize('text', [samples.OBSERVER, samples.FORMER, samples.HELPERS, samples.LISTS])
def test_the_parameter_means_what_the_file_means(text: str) -> None:
    """Rules that are the default are left out, unless one under a former name would apply in their place."""
    before, after = Overrides(yaml.safe_load(text)), Overrides(rules_of(document(text)))
    for rule in (*POLICIES.keys() - {ANY_AUTHENTICATED}, *HELPERS):
        assert before.expression(rule) == after.expression(rule), rule
    shielded = '"volume_extension:types_manage": "!"\n"volume_extension:type_create": "rule:admin_api"'
    assert Overrides(rules_of(document(shielded))).source('volume_extension:type_create')[0] == 'rule:admin_api'


def test_a_long_file_is_compressed() -> None:
    """Cinder's sample with each rule changed."""
    rules = {rule: f'rule:admin_api or role:{rule.split(":")[0]}_operator' for rule in POLICIES if ':' in rule}
    found = document(json.dumps(rules))

    assert len(json.dumps(rules)) > 2 * policy_file.MAX_BYTES
    assert len(found) < policy_file.MAX_BYTES
    assert rules_of(found) == rules
    assert document(found) == found
    assert document(samples.generated()['sample in force']) == document(samples.generated()['sample']) == ''


def test_a_file_that_is_too_long_even_compressed_is_refused() -> None:
    import hashlib

    rules = {f'r{n}': f'role:{hashlib.sha256(bytes([n])).hexdigest()}' for n in range(200)}
    with pytest.raises(Refused, match=r'200 rules have .* bytes compressed, and a parameter takes 4096'):
        document(json.dumps(rules))


def test_defaults_and_former_names_are_cinders() -> None:
    assert {rule: default_check(rule) for rule in RULES} == {rule: facts['check'] for rule, facts in RULES.items()}
    assert {name for name in POLICIES if name not in RULES} == {*EXTENSIONS, ANY_AUTHENTICATED}
    assert set(WITHOUT_ROUTE) == RULES.keys() - POLICIES.keys() - HELPERS.keys()
    assert {new for _, names in RENAMED.values() for new in names} <= RULES.keys()


def test_a_stage_refuses_it(tmp_path: Path) -> None:
    (tmp_path / 'policy.yaml').write_text('"volume:get": "role:admin or"')
    with pytest.raises(stage.Refused) as refusal:
        stage._value('PolicyOverrides', '@policy.yaml', tmp_path)
    assert str(refusal.value).startswith('PolicyOverrides: @policy.yaml volume:get has its end')
    with pytest.raises(stage.Refused, match='PolicyOverrides: volume:get is neither'):
        stage._value('PolicyOverrides', '{"volume:get": 7}', tmp_path)


def test_a_stage_passes_the_rules_of_a_file(tmp_path: Path) -> None:
    (tmp_path / 'policy.yaml').write_text(f'{samples.OBSERVER}\n"volume:get_all": "role:admin"')
    passed = stage._value('PolicyOverrides', '@policy.yaml', tmp_path)
    assert rules_of(passed)['volume:get_all'] == 'role:admin'
    assert 'volume_extension:services:index' not in rules_of(passed)


@pytest.mark.parametrize('form', ['{text}', '@{path}', '{path}'])
def test_a_local_cloud_reads_it_as_other_documents(tmp_path: Path, form: str) -> None:
    path = tmp_path / 'policy.yaml'
    path.write_text('"volume:get": "role:admin"')
    given = form.format(text='{"volume:get": "role:admin"}', path=path)

    settings = Settings.from_environment({'POLICY_OVERRIDES': given})
    assert settings.parameters({}, {})['PolicyOverrides'] == '{"volume:get":"role:admin"}'


def test_a_local_cloud_refuses_it_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'policy.yaml'
    path.write_text('"volume:get": "admin"')
    for given, start in ((f'@{path}', f'POLICY_OVERRIDES=@{path}: volume:get has'), ('{', 'POLICY_OVERRIDES: neither')):
        with pytest.raises(StartRefused) as refusal:
            Settings.from_environment({'POLICY_OVERRIDES': given})
        assert str(refusal.value).startswith(start)
    with pytest.raises(StartRefused, match='cannot be read'):
        Settings.from_environment({'POLICY_OVERRIDES': 'nowhere.yaml'})


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(['policy', *words])
    return (code, *capsys.readouterr())


def test_the_program_checks_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'policy.yaml'
    path.write_text('"volume:get": "admin"\n"volume:gett": "role:x"')
    code, out, err = run(capsys, 'check', str(path))
    assert (code, err.count('\n'), out.count('note: volume:gett')) == (1, 1, 1)

    path.write_text('"volume:delete": "user_id:%(user_id)s"\ncontext_is_admin: "role:boss"')
    code, out, err = run(capsys, 'check', str(path), '--role', 'member', '--json')
    decided = {row['rule']: list(row.values())[1:] for row in json.loads(out)['decisions']}
    assert (code, err) == (0, '')
    assert decided['volume:delete'] == [True, False, False]
    assert decided['volume:get'] == [True, True, False]
    assert decided['backup:backup-import'] == [False, False, False]
    code, out, err = run(capsys, 'check', str(path), '--role', 'boss')
    assert 'policy.yaml: 2 rules are usable' in out
    assert run(capsys, 'check', str(tmp_path / 'none'))[0] == 1


def test_the_program_shows_where_rules_are_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'policy.yaml'
    path.write_text('"volume:delete": "!"\n"volume_extension:types_manage": "role:x"\nadmin_api: "role:y"')
    code, out, err = run(capsys, 'show', '--file', str(path), '--json')
    rows = {row['rule']: (row['check'], row['from']) for row in json.loads(out)}
    assert (code, err) == (0, '')
    assert rows['volume:delete'] == ('!', 'override')
    assert rows['volume_extension:type_create'] == (
        'role:x',
        'override of its former name volume_extension:types_manage',
    )
    assert rows['volume_extension:hosts'] == ('rule:admin_api', 'default, through the override of admin_api')
    assert 'volume:get' not in rows
    _, out, _ = run(capsys, 'show', '--file', str(path), '--json', '--all')
    assert {'volume:get', 'backup:scrub'} < {row['rule'] for row in json.loads(out)}
    _, out, _ = run(capsys, 'show', '--file', str(path), '--json', 'volume:get')
    assert [row['from'] for row in json.loads(out)] == ['default']
    code, _, err = run(capsys, 'show', '--file', str(path), 'volume:gett')
    assert (code, "did you mean 'volume:get'?" in err) == (2, True)
