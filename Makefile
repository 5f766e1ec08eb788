# glassgate: what CI runs is what you run. Needs Python 3.11 or newer with venv and pip, and nothing else.
#
#   make demo            the trial: everything on this machine, stays up until Ctrl-C
#   make demo TOUR=1     the guided story, unattended
#   make test            lint, types and every test;  ONLY=tests/proxy for a part;  REQUIRE=all: a skip is a failure
#   make release         wheel and sdist of the commit, built twice and compared, into dist/

PYTHON ?= python3
UV ?= uv
ONLY ?= tests
REQUIRE ?=
TOUR ?=

VENV := .venv
RUN := $(VENV)/bin/python
PACKAGES := ledger approvals proxy overseer glassgate migrations

.DEFAULT_GOAL := help
.SUFFIXES:
.PHONY: help demo test lint format lock docs clean

help:
	@echo 'make demo            start the trial and keep it up (Ctrl-C ends it)'
	@echo 'make demo TOUR=1     play the guided story once, unattended'
	@echo 'make test            lint, types, every test'
	@echo 'make test ONLY=PATH  only the tests under PATH, e.g. ONLY=tests/proxy'
	@echo 'make test REQUIRE=all   ... and count a skipped test as a failure, as CI does'
	@echo 'make lint            ruff and mypy alone'
	@echo 'make format          let ruff lay out the code'
	@echo 'make release         build the commit twice, compare, and write dist/ with its manifest'
	@echo 'make docs            write the generated parts of docs/ again'
	@echo 'make lock            resolve the dependencies again (needs uv)'
	@echo 'make clean           remove .venv and the caches (the trial keeps its data elsewhere; it says where)'

demo: $(VENV)/.demo
	@$(VENV)/bin/glassgate demo $(if $(filter-out 0 no false,$(TOUR)),--tour)

test: $(VENV)/.dev $(VENV)/.builder $(if $(filter tests,$(ONLY)),lint)
	$(if $(REQUIRE),GLASSGATE_REQUIRE=$(REQUIRE) )$(RUN) -m pytest $(ONLY) -n 2 --dist loadfile

lint: $(VENV)/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(VENV)/.dev
	$(RUN) -m docs.generate
	$(RUN) -m glassgate.config_reference docs/configuration.md
	$(RUN) -m approvals.api.openapi > docs/openapi.json

# The locks carry hashes and no host: any mirror that has the files will do.
lock:
	@command -v $(UV) >/dev/null || { echo 'make lock needs uv (pip install uv), or say make lock UV=/path/to/uv' >&2; exit 1; }
	$(UV) pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet \
	  --python-version 3.11 --extra demo pyproject.toml -o requirements.lock
	$(UV) pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet \
	  --python-version 3.11 --extra demo --group dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- benchmarks --------------------------------------------------------------------------------------------

.PHONY: bench-ledger

# QUICK=1: the same table in under a minute. The last line is one JSON object.
bench-ledger: $(VENV)/.dev
	@QUICK=$(QUICK) $(RUN) -m bench.ledger

# --- releases ----------------------------------------------------------------------------------------------
# The build tools have an environment of their own, so that nothing else can reach into a build.

.PHONY: release lock-build

release: $(VENV)/.demo $(VENV)/.builder
	$(VENV)/bin/glassgate release build --builder $(VENV)/builder/bin/python

$(VENV)/.builder: requirements-build.lock | $(VENV)/.ready
	$(PYTHON) -m venv --clear $(VENV)/builder
	$(VENV)/builder/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@touch $@

# What pyproject.toml asks for under [build-system], with everything that this asks for in turn.
lock: lock-build
lock-build: | $(VENV)/.ready
	$(RUN) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(UV) pip compile --universal --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet \
	  --python-version 3.11 - -o requirements-build.lock

# --- the environment ---------------------------------------------------------------------------------------
# A stamp is written last, so an interrupted install is taken up again. The development set contains the demo's.

$(VENV)/.demo: requirements.lock | $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.demo

# No build step and no network: .ci/link.py makes the environment lead to this checkout.
$(VENV)/.ready: pyproject.toml .ci/link.py
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'glassgate needs Python 3.11 or newer, and there is no "$(PYTHON)" here. Say make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "glassgate needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1). Say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'This Python comes without venv or ensurepip. On Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(RUN) .ci/link.py
	@touch $@
