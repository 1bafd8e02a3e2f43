# demo   a reference server, the suite against it, a verdict and a report
# test   formatter, linter, type checker and all tests on one interpreter
# test-all  the tests on every supported interpreter that this machine has
# fix    let the formatter and the linter mend what they can
# lock   choose the pinned versions anew
# mutants  every broken server against the suite, and the kill matrix
# chaos  every kind of fault once, on both deployments: minutes, ends itself
# chaos-all  every fault on every link, then random combinations
# deps-toxiproxy  the fault-injecting TCP proxy, built by Go
# deps-system  what the tests use of the system: proxies, a browser, stores (Debian, as root)
# witnesses  install the npm client that runs give their streams to (needs Node 20 and npm)
# bench  the reference server against its peers, with budgets; ONLY=fanout for a part of it
# deps-bench  what the benchmark uses of the system (Debian, as root)
# clean  remove what the above made

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) >/dev/null && $(name) -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test test-all check fix lock mutants chaos chaos-all bench deps-system deps-bench \
  deps-toxiproxy witnesses clean

demo: $(INSTALLED)
	@$(BIN)/python -m tools.demo

test: check
	$(BIN)/python -m pytest

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test-all: test
	@for name in python3.12 python3.13; do \
	  if $$name -c 'import venv, ensurepip' 2>/dev/null; then \
	    $(MAKE) --no-print-directory PYTHON=$$name VENV=.venv-$$name only-tests || exit 1; \
	  else echo "$$name is not here: its tests were not run"; fi; \
	done

.PHONY: only-tests
only-tests: $(INSTALLED)
	$(BIN)/python -m pytest

mutants: $(INSTALLED)
	$(BIN)/python -m tests.mutants

SEED ?= 1
CHAOS := $(BIN)/python -m pytest chaos --junitxml=reports/chaos/junit.xml

chaos: $(INSTALLED) deps-toxiproxy
	$(CHAOS) --seed=$(SEED)

# About 13 minutes for all faults; the rest of the 40 for what nobody thought of.
chaos-all: $(INSTALLED) deps-toxiproxy
	$(CHAOS) --whole --budget=1200 $(if $(filter command% environment%,$(origin SEED)),--seed=$(SEED))

TOXIPROXY := github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
deps-toxiproxy: export PATH := $(PATH):/usr/local/go/bin
deps-toxiproxy:
	@test -n "$(TOXIPROXY_URL)" || command -v toxiproxy-server >/dev/null || test -x .tools/toxiproxy-server || { \
	  command -v go >/dev/null || { echo "Toxiproxy is needed: put toxiproxy-server 2.12 on the PATH, name a running one by TOXIPROXY_URL, or install Go 1.23" >&2; exit 2; }; \
	  GOBIN="$(CURDIR)/.tools" go install $(TOXIPROXY) && mv .tools/server .tools/toxiproxy-server; }

# RUNLEVEL=1 keeps Debian from starting the services that it installs: the tests start their own.
SYSTEM := nginx haproxy caddy chromium postgresql redis-server prometheus docker-compose faketime
deps-system:
	@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	  echo "install by hand (this needs Debian and root): $(SYSTEM) nodejs npm" >&2; exit 2; }
	apt-get update -qq
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  $(SYSTEM) $$(command -v npm >/dev/null || echo nodejs npm)

witnesses:
	npm ci --prefix tools/witness --ignore-scripts --no-audit --no-fund

# gcc is needed; nchan and node are measured where they are, as are Go and Rust.
BENCH := gcc libc6-dev nginx libnginx-mod-nchan
deps-bench:
	@command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || { \
	  echo "install by hand (this needs Debian and root): $(BENCH) nodejs" >&2; exit 2; }
	apt-get update -qq
	RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	  $(BENCH) $$(command -v node >/dev/null || echo nodejs)

bench: $(INSTALLED)
	@$(BIN)/python -m load.bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

fix: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --upgrade -o requirements.lock

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed (with venv); none was found" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(INSTALLED)

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .hypothesis build *.egg-info reports/conformance reports/load reports/mutants
