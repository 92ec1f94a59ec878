# The same names here, in CI and in the README. Python packages are installed into .venv; programs that are missing
# (PostgreSQL, PgBouncer, Chromium, wrk, ...) come from apt-get, for which make must run as root.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SERVE  ?=
# One process more than there are cores, for many tests wait. Each runs whole files, which share their servers.
PROCESSES ?= $(shell cores=$$(nproc 2>/dev/null || echo 1); echo $$((cores < 4 ? cores + 1 : 4)))

.DEFAULT_GOAL := help
.PHONY: help serve serve-postgres test test-fast test-lowest lock test-ha test-snippets check format docs bench bench-postgres bench-drivers bench-webhooks bench-expiry bench-ledger bench-pages screenshots clean system-postgres system-pgbouncer system-chromium

help:  ## Show this list.
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

serve: $(VENV)/.serves  ## Start the server in sandbox mode on an embedded SQLite file (SERVE="--port 9000" adds options).
	@exec $(BIN)/opentill serve $(SERVE)

serve-postgres: $(VENV)/.postgres  ## The same on an embedded PostgreSQL, started and stopped together (SERVE as above).
	@exec $(BIN)/python tools/serve_postgres.py $(SERVE)

test: $(VENV)/.tests system-postgres system-pgbouncer system-chromium  ## Install what the tests need and run all of them.
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-ha: $(VENV)/.tests $(VENV)/.patroni system-postgres  ## Kill the primary of a PostgreSQL under Patroni while cancels and payments meet (a minute).
	@command -v etcd >/dev/null || { apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y --no-install-recommends etcd-server; }
	$(BIN)/python -m pytest ha

test-snippets: $(VENV)/.tests  ## Run the webhook receivers of docs/snippets in every language (installs node and php).
	@set -e; for each in node:nodejs php:php-cli; do command -v $${each%:*} >/dev/null || { \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends $${each#*:}; }; done
	SNIPPET_LANGUAGES="python node php" $(BIN)/python -m pytest tests/webhooks/test_snippets.py

QUICK := tests/domain tests/engine tests/store/test_sqlite.py tests/api/test_wire_*.py tests/cli/test_serve.py

test-fast: $(VENV)/.tests  ## Run the tests of the core, the engine and the store on SQLite, and of the wire (a minute).
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile -k 'not postgresql' tests/tidy $(QUICK)

test-lowest: $(VENV)/lowest/.tests  ## Run the quick tests on the lowest versions that are declared (two minutes).
	$(VENV)/lowest/bin/python -m pytest --numprocesses $(PROCESSES) --dist loadfile -k 'not postgresql' $(QUICK)

lock: $(VENV)/.serves  ## Bring requirements/*.lock up to the newest versions that are declared.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group lock
	for lock in serve: postgres:--group=postgres tests:--group=dev; do \
	  $(BIN)/uv pip compile pyproject.toml $${lock#*:} --universal --python-version 3.11 --upgrade --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements/$${lock%%:*}.lock || exit; done

check: $(VENV)/.tests  ## Lint, formatting, types and generated pages.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=tests $(BIN)/python -m tools.pages --check

format: $(VENV)/.tests  ## Put the code into the house's format.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: $(VENV)/.serves  ## Write the pages that are generated from the code.
	PYTHONPATH=tests $(BIN)/python -m tools.pages

bench: $(VENV)/.serves  ## Measure the hot path over HTTP (needs wrk; about eight minutes).
	@command -v wrk >/dev/null || { apt-get update -qq && apt-get install -qq -y wrk; }
	$(BIN)/python bench/hot_path.py $(BENCH)

bench-postgres: $(VENV)/.postgres  ## Measure it on PostgreSQL against pgbench (needs wrk; about twenty minutes).
	@command -v wrk >/dev/null || { apt-get update -qq && apt-get install -qq -y wrk; }
	PYTHONPATH=tests $(BIN)/python bench/postgres.py $(BENCH)

bench-drivers: $(VENV)/.postgres  ## Measure ways to reach PostgreSQL (docs/decisions/0006; about six minutes).
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	PYTHONPATH=tests $(BIN)/python bench/drivers.py $(BENCH)

bench-webhooks: $(VENV)/.tests  ## Measure webhook deliveries to fast and to dead receivers (about two minutes).
	PYTHONPATH=tests $(BIN)/python bench/webhooks.py $(BENCH)

bench-expiry: $(VENV)/.postgres  ## Measure how fast due orders end beside cancels, on both databases (about five minutes).
	PYTHONPATH=tests $(BIN)/python bench/expiry.py $(BENCH)

bench-ledger: $(VENV)/.postgres  ## Measure the ledger check over a million orders, on both databases (about three minutes).
	PYTHONPATH=tests $(BIN)/python bench/ledger.py $(BENCH)

bench-pages: $(VENV)/.tests  ## Measure 1,000 open payer pages: memory, news, and how soon the server stops (a minute).
	PYTHONPATH=tests $(BIN)/python bench/pages.py $(BENCH)

screenshots: $(VENV)/.tests system-chromium  ## Write a picture of every state of the payer's page to docs/screenshots.
	PYTHONPATH=tests $(BIN)/python tools/screenshots.py

clean:  ## Remove the environment and everything that tools left.
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "opentill needs Python 3.11 or later; name one with make PYTHON=/path/to/python3."; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -qq -y python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

# What is locked is what is installed: the versions that were tested, each checked by its hash.
LOCKED = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement

$(VENV)/.serves: pyproject.toml requirements/serve.lock | $(VENV)/bin/python
	$(LOCKED) requirements/serve.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.postgres: requirements/postgres.lock $(VENV)/.serves
	$(LOCKED) requirements/postgres.lock
	@touch $@

# Made from the system's Python: as root we run Patroni as somebody else, to whom ours may be out of reach.
$(VENV)/.patroni: pyproject.toml $(VENV)/.serves
	/usr/bin/python3 -m venv --without-pip $(VENV)/patroni
	$(BIN)/python -m pip --python $(VENV)/patroni install --quiet --disable-pip-version-check --group ha
	@touch $@

# The older PostgreSQL that tests run on beside the wheel's, without a cluster of the system's being made or started.
system-postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { \
	  conf=/etc/postgresql-common/createcluster.conf; mkdir -p $${conf%/*} && \
	  { test -e $$conf || echo 'create_main_cluster = false' > $$conf; } && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends postgresql; } || \
	  echo "The system has no PostgreSQL and none could be installed: only the embedded one is tested."

# A PgBouncer too old for prepared statements, as systems have it.
system-pgbouncer:
	@PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || { \
	  apt-get update -qq && RUNLEVEL=1 apt-get install -qq -y --no-install-recommends pgbouncer; }

# The browser that plays the payer.
system-chromium:
	@test -x /usr/bin/chromium || { \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; }

$(VENV)/.tests: requirements/tests.lock $(VENV)/.serves
	$(LOCKED) requirements/tests.lock
	@touch $@

# The program on the lowest versions that it declares, and beside it only what the quick tests need.
$(VENV)/lowest/.tests: pyproject.toml tools/lowest.py | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/lowest
	$(VENV)/lowest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python tools/lowest.py > $(VENV)/lowest/constraints.txt
	$(VENV)/lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(VENV)/lowest/constraints.txt --group quick --editable .
	@touch $@
