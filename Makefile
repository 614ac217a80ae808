# One target for each intent. What passes here passes in CI: CI runs `make check`, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# A name on PATH may be a shim for a Python that isn't there, and Debian's own may lack ensurepip:
# only one that can make a virtual environment counts. The loop must not end with the 127 of a Python
# that isn't there: make would throw away what it found before.
find_python = $(firstword $(shell for python in python$(1) python3 ~/.pyenv/versions/$(1).*/bin/python; \
  do "$$python" -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != ($(subst .,$(,),$(1))))' \
  2>/dev/null && echo "$$python"; done; true))
, := ,
VERSIONS := 3.11 3.13
NEWEST := $(firstword $(foreach version,3.13 3.12 3.11,$(if $(call find_python,$(version)),$(version))))
PYTHON = $(call find_python,$(NEWEST))
WORKERS ?= 2

.PHONY: help run check test lint full campaign docs package cloud cloud-down npm clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

run: .venv/installed npm ## serve http://127.0.0.1:5000 and ping every minute
	.venv/bin/flask run

check: lint npm $(addprefix test-,$(VERSIONS)) ## all that CI runs: lint, and the tests on each Python

test: .venv-$(NEWEST)/installed npm ## every test on one Python, on SQLite and Postgres: before a commit
	.venv-$(NEWEST)/bin/python setup.py --quiet test --workers $(WORKERS)

lint: .venv-$(NEWEST)/installed ## style and types
	.venv-$(NEWEST)/bin/python setup.py --quiet lint

# All tests on the newest; on the others what their Python may change, unless there is time for all.
test-%:
	@if [ -z "$(call find_python,$*)" ]; then \
	  echo "*** PYTHON $* IS MISSING: NOTHING IS TESTED ON IT ***" >&2; test -z "$$CI"; \
	else \
	  $(MAKE) .venv-$*/installed && echo "=== Python $* ===" && \
	  .venv-$*/bin/python setup.py --quiet test --workers $(WORKERS) \
	    $(if $(filter $*,$(NEWEST)),--coverage,$(if $(PINGLET_FULL)$(PINGLET_CAMPAIGN),,--postgres driver)); \
	fi

full: ## check, and the tests that are slow by nature: at night, before a release
	@PINGLET_FULL=1 $(MAKE) check

campaign: ## the tests with the full counts that the issues name; takes hours, writes docs/campaign.md
	@rm -rf build/campaign
	@PINGLET_CAMPAIGN=1 $(MAKE) --keep-going npm $(addprefix test-,$(VERSIONS)); code=$$?; \
	  for python in .venv-3.*/bin/python; do PYTHONPATH=.ci $$python -m campaign; break; done; exit $$code

docs: .venv-$(NEWEST)/installed npm ## make the transcripts in the README and the pictures in docs/ anew
	PYTHONPATH=.ci .venv-$(NEWEST)/bin/python -m transcripts
	PYTHONPATH=.ci .venv-$(NEWEST)/bin/python -m screenshots
	PYTHONPATH=.ci .venv-$(NEWEST)/bin/python -m contact_sheet
	PYTHONPATH=.ci .venv-$(NEWEST)/bin/python -m rooms

package: .venv-3.13/installed node_modules/.package-lock.json ## build what is deployed (ARCH=arm64 or x86_64)
	.venv-3.13/bin/python -m infra.build --arch $(or $(ARCH),arm64)

cloud: .venv-3.13/installed node_modules/.package-lock.json ## a cloud on this machine, with Pinglet deployed into it
	.venv-3.13/bin/python -m tests.local_cloud up

cloud-down: .venv-3.13/installed ## end it
	.venv-3.13/bin/python -m tests.local_cloud down

# Chart.js for the pages, axe and the deploy tools for the tests: where node is there.
npm:
	@if command -v npm >/dev/null && [ ! node_modules/.package-lock.json -nt package-lock.json ]; then \
	  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
	  { echo "*** NPM FAILED: NO PAGE AND NO DEPLOY IS TESTED ***" >&2; test -z "$$CI"; }; fi

clean: ## remove what the other targets made
	rm -rf .venv .venv-* node_modules .serverless build .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

.venv/installed: requirements.txt
	@test -n "$(PYTHON)" || { echo "Pinglet needs Python 3.11 or newer, with venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv-%/installed: requirements.txt requirements-dev.txt
	$(call find_python,$*) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/.package-lock.json: package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
