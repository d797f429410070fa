# Every command a developer needs; each does all of its own set-up, from nothing, and is quick when nothing changed.
#
#   make tour       build, and run the guided tour: processes that talk
#   make test       build, and run the tests of the core (C) and of the package; ARGS="-k queue -x" goes to pytest
#   make test-all   the same on each of Python 3.11, 3.12 and 3.13 that this machine has
#   make lint       ruff, mypy --strict, compiler warnings, and whether meson.build lists every source
#   make sanitize   the core's tests under ASan+UBSan and under TSan
#   make model      check the model of rendezvous and choice (core/model) exhaustively, with spin; ARGS=again: only what is called so
#   make bench      run the benchmarks and write benchmarks/RESULTS.md
#   make clean      remove all that these made
#
# PYTHON=python3.12   the interpreter to make the virtual environment with (default python3)
# VENV=.venv          where that environment is, with its build folder inside; remade when PYTHON changes
# FAULT_POINTS=1      build the extension with the core's fault points, in an environment of its own

PYTHON ?= python3
FAULT_POINTS ?=
VENV ?= .venv$(if $(FAULT_POINTS),-faults)
ARGS ?=
# gcc, unless CC names another (make's own default, cc, counts for nothing).
COMPILER := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
SOURCES := pyproject.toml meson.build meson.options README.md LICENSE $(wildcard core/*) \
	$(shell find src -type f -not -name '*.pyc' 2>/dev/null)
# The tools of the build (meson, ninja, cython) are the environment's own, whatever else PATH has.
IN_VENV := env PATH="$(abspath $(BIN)):$$PATH"
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Which interpreter PYTHON is, asked only by what needs the environment.
PYTHON_IS = $(shell $(PYTHON) -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null)

.PHONY: tour test test-all core-tests lint sanitize model bench clean FORCE
.DELETE_ON_ERROR:
.NOTPARALLEL:

tour: $(STAMPS)/package $(STAMPS)/tour
	$(BIN)/interproc tour $(ARGS)

# Both parts run, whatever the first says.
test: $(STAMPS)/package $(STAMPS)/test
	@status=0; $(MAKE) --no-print-directory core-tests || status=1; \
	echo "$(BIN)/python -m pytest $(ARGS)"; \
	$(BIN)/python -m pytest --junit-xml=build/pytest.xml $(ARGS) || status=1; exit $$status

core-tests:
	@$(MAKE) --no-print-directory -C tests/core FLAVOUR=plain

lint: $(STAMPS)/package $(STAMPS)/lint
	$(BIN)/python scripts/check_sources.py
	$(BIN)/ruff check .
	$(BIN)/mypy | sed -e 's|^[^ ]*/site-packages/interproc/_core.pyi|src/interproc/_core/_core.pyi|' \
		-e 's|^[^ ]*/site-packages/interproc/|src/interproc/|'
	$(COMPILER) -std=gnu11 -D_GNU_SOURCE= -DIP_FAULT_POINTS -Icore -Wall -Wextra -Werror \
		-fsyntax-only core/*.c tests/core/*.c

sanitize:
	@status=0; for flavour in asan tsan; do \
		$(MAKE) --no-print-directory -C tests/core FLAVOUR=$$flavour || status=1; \
	done; exit $$status

model:
	@scripts/need-spin.sh && core/model/run.sh $(ARGS)

bench: $(STAMPS)/package $(STAMPS)/bench
	$(BIN)/python -m benchmarks $(ARGS)

test-all:
	@MAKE="$(MAKE)" scripts/test-all.sh

clean:
	rm -rf build .venv .venv-*
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# The environment, with the tools of the build; made anew when PYTHON is another than it was made with.
$(STAMPS)/venv: $(STAMPS)/python pyproject.toml scripts/requirements.py
	@CC="$(COMPILER)" scripts/need-python.sh "$(PYTHON)"
	@cmp -s $(STAMPS)/python $(STAMPS)/made-with || { \
		echo "making $(VENV) with $(PYTHON)"; \
		cp $(STAMPS)/python $(VENV).python && \
		"$(PYTHON)" -m venv --clear $(VENV) && mkdir -p $(STAMPS) && \
		cp $(VENV).python $(STAMPS)/python && mv $(VENV).python $(STAMPS)/made-with; }
	$(BIN)/python scripts/requirements.py build | $(PIP) install -q -r /dev/stdin
	@touch $@

$(STAMPS)/python: FORCE
	@mkdir -p $(STAMPS)
	@echo '$(PYTHON_IS)' | cmp -s - $@ || echo '$(PYTHON_IS)' > $@

# The package itself; meson keeps what is built in $(VENV)/build, so only what changed is compiled.
$(STAMPS)/package: $(STAMPS)/venv $(SOURCES)
	@$(BIN)/python scripts/check_sources.py || echo "(building without)" >&2
	$(IN_VENV) CC="$(COMPILER)" $(PIP) install -q --no-build-isolation --config-settings=build-dir=$(VENV)/build \
		$(if $(FAULT_POINTS),--config-settings=setup-args=-Dfault_points=true) .
	@touch $@

# The extras of pyproject.toml, each when first needed.
$(STAMPS)/tour $(STAMPS)/test $(STAMPS)/bench $(STAMPS)/lint: $(STAMPS)/venv
	$(BIN)/python scripts/requirements.py $(@F) | $(PIP) install -q -r /dev/stdin
	@touch $@
