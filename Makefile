# The front door. `make help` lists what is here.
VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: help setup run test demo bench vectors model tempest clients conformance package deploy remove history lock changes release access checkov lint docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete  ## install what the local cloud and the tests need (Debian packages, .venv, .tools)

$(VENV)/.complete: local/setup.sh requirements-dev.lock tests/iam/package-lock.json
	@sh local/setup.sh $(VENV)
	@touch $@

run: setup  ## the whole cloud on this machine, until Ctrl-C
	@exec $(PYTHON) -m local

test: setup  ## everything that is tested; takes pytest's options in ARGS
	@$(PYTHON) -m pytest -n auto --dist loadgroup $(ARGS)

demo: setup  ## the four workflows on real data, told step by step
	@$(PYTHON) -m local.demo

bench: setup  ## the figures of the README
	@$(PYTHON) -m bench

vectors: setup  ## the scheduler against recorded answers (folder: SCHEDULER_VECTORS)
	@$(PYTHON) -m tests.vectors

model: setup  ## a reference model beside the service: make model [RUNS=2000] [SEED=n repeats a search]
	@MODEL_RUNS=$(or $(RUNS),2000) MODEL_SEED=$(or $(SEED),$$$$) $(PYTHON) -m pytest tests/model $(ARGS)

tempest: setup  ## OpenStack's own tests, with a real Keystone and Glance (which: TESTS, a regular expression)
	@$(PYTHON) -m tests.upstream $(if $(TESTS),'$(TESTS)')

clients: setup  ## the functional tests of OpenStack's clients, with a real Keystone and Glance (which: SUITES)
	@$(PYTHON) -m tests.upstream.clients $(SUITES)

conformance: setup  ## the API against recorded facts (folders: API_FACTS, EDGE_VECTORS)
	@$(PYTHON) -m tests.conformance

package: setup  ## .build/template.json and its three archives, ready to deploy
	@$(PYTHON) -m infra.package

deploy: setup  ## package, upload and deploy deploy/STAGE.yaml: make deploy STAGE=... [PROFILE=...] [REVIEW=1]
	@$(PYTHON) -m infra.deploy $(STAGE) $(if $(PROFILE),--profile $(PROFILE)) $(if $(REVIEW),--review)

remove: setup  ## delete a stack, with DATA=<its name> its records and backups too: make remove STAGE=... [PROFILE=...]
	@$(PYTHON) -m infra.remove $(STAGE) $(if $(PROFILE),--profile $(PROFILE)) $(if $(DATA),--data $(DATA))

history: setup  ## what became of a request: make history REQUEST=req-...
	@$(PYTHON) -m infra.history $(REQUEST)

lock: setup  ## requirements-dev.lock and infra/layers/*.txt: packages with hashes, from requirements*.txt
	@$(PYTHON) -m infra.lock

changes: setup  ## what a deploy of this version changes in a stack of the last release
	@$(PYTHON) -m infra.changes

release: setup  ## keep this version's tables, bucket and key in infra/released, for later changes
	@$(PYTHON) -m infra.changes --release

access: setup  ## infra/permissions/access.yaml, from what the functions called in the last complete make test
	@$(PYTHON) -m tests.permissions

checkov: setup  ## checkov's findings about the template against tests/checkov.yaml
	@$(PYTHON) -m tests.checkov

lint: setup  ## style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

docs: setup  ## the generated pages of docs/
	@WRITE_CALLS=1 $(PYTHON) -m pytest -q tests/workflows/test_budgets.py tests/contract -k 'budgets or test_calls'
	@$(PYTHON) -m docs.generate

clean:  ## remove what was made here, but not .venv and .tools
	@rm -rf .build .local .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
