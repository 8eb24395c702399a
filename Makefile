# The front door: `make help` lists the targets.
VENV := .venv
PYTHON := $(VENV)/bin/python
PROGRAM := $(PYTHON) -m cinderless

# The tests of `make check`: they start no local cloud and no storage daemon, and build no package.
SLOW := $(addprefix tests/api/,test_fuzz.py test_openapi.py test_schema.py)
FAST := tests/test_*.py $(addprefix tests/unit/,identity operations rules scheduler tasks) \
  $(filter-out $(SLOW),$(wildcard tests/api/test_*.py))

.PHONY: help setup run test demo bench vectors model mutants crash soak tempest clients horizon conformance emulator migration package deploy smoke recover publish policies remove history lock changes release access checkov lint format check coverage docs terraform clean

help:  ## this list
	@awk -F ':.*## ' '/^##@ /{printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
setup: $(VENV)/.complete  ## install what the local cloud and the tests need (Debian packages, .venv, .tools)

$(VENV)/.complete: local/setup.sh requirements-dev.lock pyproject.toml tests/iam/package-lock.json infra/console.py
	@sh local/setup.sh $(VENV)
	@touch $@

run: setup  ## run the whole service on this machine, until Ctrl-C
	@exec $(PROGRAM) serve

demo: setup  ## create, attach, back up and restore on real data, and verify every byte
	@$(PROGRAM) demo

package: setup  ## build .build/template.json and its three archives
	@$(PROGRAM) package

deploy: setup  ## package, upload and deploy deploy/STAGE.yaml: STAGE=... [PROFILE=...] [REVIEW=1]
	@$(PROGRAM) deploy $(STAGE) $(if $(PROFILE),--profile $(PROFILE)) $(if $(REVIEW),--review)

smoke: setup  ## check a deployed stage, for 10 minutes while a check fails: STAGE=... [PROFILE=...]
	@$(PYTHON) -m cinderless doctor --stage $(STAGE) --wait 600 $(if $(PROFILE),--profile $(PROFILE))

recover: setup  ## restore a table: STAGE=... TABLE=volumes TIME=2026-11-30T10:00:00 [REPLACE=<its whole name>]
	@$(PYTHON) -m infra.recover $(STAGE) $(TABLE) $(TIME) $(if $(REPLACE),--replace $(REPLACE)) $(if $(PROFILE),--profile $(PROFILE))

publish: setup  ## upload the packaged template for Terraform and CDK: BUCKET=... REGION=... [PROFILE=...]
	@$(PYTHON) -m infra.publish $(BUCKET) --region $(REGION) $(if $(PROFILE),--profile $(PROFILE))

policies: setup  ## print the least-privilege policies of the deployer of deploy/STAGE.yaml: STAGE=...
	@$(PYTHON) -m infra.deployer $(STAGE)

remove: setup  ## delete a stack, and with DATA=<its name> its records and backups: STAGE=... [PROFILE=...]
	@$(PROGRAM) remove $(STAGE) $(if $(PROFILE),--profile $(PROFILE)) $(if $(DATA),--data $(DATA))

history: setup  ## show the history of a request, volume, backup or execution: REQUEST=its id
	@$(PROGRAM) history $(REQUEST)

##@ Develop
check: lint  ## style, types and the fast tests (rules, scheduler, operations, tasks, identity, API), in two minutes
	@$(PYTHON) -m pytest -n auto --dist loadgroup $(FAST) $(ARGS)

test: setup  ## all tests; ARGS are passed to pytest
	@$(PYTHON) -m pytest -n auto --dist loadgroup $(ARGS)

lint: setup  ## check style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: setup  ## format the code, and fix the style errors that can be fixed automatically
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

coverage: setup  ## all tests with line coverage; the report is in .build/coverage
	@$(PYTHON) -m pytest -n auto --dist loadgroup --cov --cov-report term:skip-covered --cov-report html $(ARGS)

vectors: setup  ## compare the scheduler with Cinder's recorded decisions [SCHEDULER_VECTORS=folder]
	@$(PYTHON) -m tests.vectors

conformance: setup  ## compare the API with Cinder's recorded answers [API_FACTS=folder] [EDGE_VECTORS=folder]
	@$(PYTHON) -m tests.conformance

model: setup  ## compare the service with a reference model: [RUNS=2000] [SEED=n repeats a search]
	@MODEL_RUNS=$(or $(RUNS),2000) MODEL_SEED=$(or $(SEED),$$$$) $(PYTHON) -m pytest tests/model $(ARGS)

mutants: setup  ## change the code of a part in a sample of places; tests must notice: PART=... [COUNT=300] [SEED=1] [MINUTES=n]
	@$(PYTHON) -m tests.mutants $(PART) $(or $(COUNT),300) $(or $(SEED),1) $(or $(MINUTES),0)

crash: setup  ## kill local clouds at random times under load, and compare: [RUNS=50] [SEED=n repeats the times]
	@CRASH_RUNS=$(or $(RUNS),50) CRASH_SEED=$(or $(SEED),$$$$) $(PYTHON) -m pytest -q -s tests/system/test_crash.py \
	  tests/unit/local/test_dynamodb.py -k 'acknowledged or survives' $(ARGS)

soak: setup  ## load a local cloud with faults at every hop, and compare what is left: [MINUTES=60] [SEED=n]
	@SOAK_MINUTES=$(or $(MINUTES),60) SOAK_SEED=$(or $(SEED),$$$$) $(PYTHON) -m pytest -s tests/soak $(ARGS)

tempest: setup  ## run Tempest with a real Keystone and Glance [TESTS=regular expression]
	@$(PYTHON) -m tests.upstream $(if $(TESTS),'$(TESTS)')

clients: setup  ## run the functional tests of OpenStack's clients with a real Keystone and Glance [SUITES=...]
	@$(PYTHON) -m tests.upstream.clients $(SUITES)

horizon: setup  ## log in to Horizon, open its pages of volumes and send its forms [IDENTITIES="built-in keystone"]
	@$(PYTHON) -m tests.horizon $(IDENTITIES)

emulator: setup  ## deploy to a second AWS (ministack) by the deploy command: workflows, failures, updates, removal
	@EMULATOR=all $(PYTHON) -m pytest -v -p no:xdist tests/emulator $(ARGS)

migration: setup  ## bring a Cinder 29 with MariaDB to a local cloud, from start to end [VOLUMES=200]
	@command -v mariadbd mariadb-install-db > /dev/null || { echo 'apt-get install mariadb-server-core mariadb-client-core'; exit 1; }
	@MIGRATION_VOLUMES=$(or $(VOLUMES),200) $(PYTHON) -m pytest -v -s -p no:xdist tests/migration/weekend.py $(ARGS)

bench: setup  ## measure the figures of the README
	@$(PYTHON) -m bench

##@ Maintain
docs: setup  ## write the generated pages of docs/ and build their site in .build/site
	@WRITE_CALLS=1 $(PYTHON) -m pytest -q tests/workflows/test_budgets.py tests/workflows/test_idle.py tests/contract \
	  -k 'budgets or idle or test_calls'
	@$(PYTHON) -m docs.generate
	@$(PYTHON) -m infra.terraform_module
	@$(PYTHON) -m tests.system.environments docs > /dev/null
	@.venv-docs/bin/python -m docs.site

terraform:  ## check the format of infra/terraform, and validate it (needs terraform and registry.terraform.io)
	@terraform fmt -check -recursive infra/terraform
	@terraform -chdir=infra/terraform init -backend=false -input=false > /dev/null
	@terraform -chdir=infra/terraform validate

lock: setup  ## lock packages with hashes: requirements-dev.lock and infra/layers/*.txt, from requirements*.txt
	@$(PYTHON) -m infra.lock

access: setup  ## write infra/permissions/access.yaml from the calls of the last complete `make test`
	@$(PYTHON) -m tests.permissions

checkov: setup  ## compare checkov's findings about the template with tests/checkov.yaml
	@$(PYTHON) -m tests.checkov

changes: setup  ## show what a deployment of this version changes in a stack of the last release
	@$(PYTHON) -m infra.changes

release: setup  ## tag the version of pyproject.toml, with its changes and what `make changes` compares with
	@$(PYTHON) -m infra.release

clean:  ## delete build results and caches; keep .venv, .tools and state folders of local clouds
	@rm -rf .build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
