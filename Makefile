# The commands of the project. Each installs what it needs and is missing, then does its work.
# `make demo` shows the whole; `make test` tests the whole; `make check` is for every change.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

bin := .venv/bin
# Tests against real parts wait more than they compute; those of one file share such parts. The longest files begin.
side_by_side := -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: venv
venv: ## .venv with the butlery program and everything that development needs
	@.ci/packages venv
	@.ci/venv

.PHONY: demo
demo: ## tenants' builds on a real Mesos on this machine, shown as they run
	@.ci/packages venv demo
	@.ci/venv
	$(bin)/butlery demo

.PHONY: check
check: venv ## style, types, import rules, unit and property tests: seconds
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	$(bin)/pytest -q -n 2 tests/unit tests/property

.PHONY: test
test: ## everything: check, docs, limits in an emulated machine, tests against the real Mesos, processes and limits
	@.ci/packages venv demo test bench
	@$(MAKE) check
	@$(MAKE) docs
	@$(MAKE) test-cgroup2
	$(bin)/pytest $(side_by_side) -m 'not root' tests/acceptance tests/integration tests/contract
	.ci/as-root $(bin)/pytest -m root tests/contract tests/integration tests/acceptance

.PHONY: soak
soak: venv ## the property tests a hundred times as long: a quarter of an hour
	HYPOTHESIS_PROFILE=soak $(bin)/pytest -q tests/property --timeout 3600

.PHONY: test-cgroup2
test-cgroup2: ## the executor's limits under cgroup v2, in an emulated Debian 12: minutes
	@.ci/packages venv cgroup2
	@.ci/venv
	.ci/as-root $(bin)/python -m tests.cgroup2

.PHONY: bench
bench: ## the figures of docs/performance.rst
	@.ci/packages venv demo bench
	@.ci/venv
	$(bin)/butlery bench latency --json
	$(bin)/butlery bench placement --json
	$(bin)/butlery bench placement --peer fenzo --json
	$(bin)/butlery bench core --json
	$(bin)/butlery bench memory --json
	$(bin)/butlery bench failover --json
	$(bin)/butlery bench wire --json
	$(bin)/butlery bench mesos --json
	$(bin)/butlery bench marathon --json
	$(bin)/butlery bench masters --json
	$(bin)/butlery bench jenkins --json
	$(bin)/butlery bench demand --json
	$(bin)/butlery bench poller --json
	$(bin)/butlery bench telemetry --json

.PHONY: docs
docs: venv ## docs/_build/html, warnings as errors
	$(bin)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

.PHONY: clean
clean: ## removes what was made here, .venv included
	rm -rf .venv build dist docs/_build ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
