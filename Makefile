# Everything that a person or a CI runs, in an environment of its own: needs make and Python only.
#
#   make demo                             the whole suite on the sample models; no network once installed
#   make prep ARGS="--models NAME -n 2"   ARGS goes to pytest
#   make test VENV=/var/tmp/venv          the environment in another place
#   make demo TORCH_INDEX=                torch from pip's own index alone

VENV ?= .venv
# The first of these that fits; said with PYTHON=, exactly that one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c '$(FITS)' >/dev/null 2>&1 && echo $$python && exit; done; echo python3)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ARGS ?=

# The Pythons on which the tests ran, and the sentence for any other.
FITS = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and \
  "model-prep was tried on Python 3.11 to 3.13, but %s is Python %d.%d.%d: \
  give another one with PYTHON=python3.11" % ((sys.executable,) + sys.version_info[:3]))

PY := $(VENV)/bin/python
PIP = $(PY) -m pip --disable-pip-version-check --no-input
# All tests, unless ARGS names some.
# A file's tests share what they prepared, so a file stays on one worker. In the order of collection
# the whole runs of tests/system come first: by itself, xdist begins with the files of most tests, which
# are not the longest, and one worker would wait for the other.
SIDE_BY_SIDE = -n 2 --dist loadfile --no-loadscope-reorder
TESTS = $(if $(filter tests/%,$(ARGS)),,tests)
# What is installed is remembered by the content of these files: other content, other stamp. Not by
# their dates, which every checkout changes.
KEY := $(shell cat pyproject.toml requirements*.txt prep/convert/overlay.txt | cksum | cut -d' ' -f1)
USER_STAMP := $(VENV)/.model-prep-$(KEY)
DEV_STAMP := $(VENV)/.model-prep-dev-$(KEY)
OVERLAY_STAMP := $(VENV)/.model-prep-overlay-$(KEY)

# A line now and then, as long as this recipe's shell is there: pip says nothing while it unpacks,
# and some tests take their time; nobody should think them dead. $(call beat,SECONDS,WORDS)
beat = (while sleep $(1) >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do echo "... $(2)"; done) & \
  beat=$$!; trap 'kill $$beat 2>/dev/null' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM;
INSTALL = $(call beat,8,still installing) $(PIP) install -c requirements-tested.txt

.DEFAULT_GOAL := help
.PHONY: help demo prep bundle test lint coverage proof matrix consumers faults zoo image-test page-test dashboards-test bench mutants full-size recipes clean
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ' *## ' '/^[a-z-]+:.*## / { sub(/:.*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(USER_STAMP) $(OVERLAY_STAMP) ## prepare and prove the sample models, which ship with the project
	$(PY) -m pytest --hub sample --junitxml=reports/junit.xml --verdict-xml=reports/verdict.xml $(ARGS)

prep: $(USER_STAMP) $(OVERLAY_STAMP) ## prepare and prove the models of models.toml
	$(PY) -m pytest --junitxml=reports/junit.xml --verdict-xml=reports/verdict.xml $(ARGS)

bundle: ## one tar of a home that is ready, for an air gap: MODEL_HOME=/srv/models OUT=models.tar
	@$(if $(and $(MODEL_HOME),$(OUT)),,$(error give MODEL_HOME= and OUT=))$(PYTHON) deploy/bundle.py "$(MODEL_HOME)" "$(OUT)"

test: $(DEV_STAMP) $(OVERLAY_STAMP) ## the tests of the suite itself
	@$(call beat,30,still testing) $(PY) -m pytest -c tests/pytest.ini $(SIDE_BY_SIDE) $(TESTS) $(ARGS)

lint: $(DEV_STAMP) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# Each lies below tests/proofs/ or is marked so: `make proof ARGS="-k signals"`, and `make proof
# ARGS="--collect-only -q"` lists them. An option of a file is a variable, told in its first lines.
PROOF = $(call beat,30,still testing) $(PY) -m pytest -c tests/pytest.ini -rs -m proof
proof: $(DEV_STAMP) $(OVERLAY_STAMP) ## every proof: hours. ARGS="-k fuzz" chooses: crashes, environments, fuzz, interruptions, signals …
	@$(PROOF) $(if $(filter tests/%,$(ARGS)),,tests) $(ARGS)

# Two more environments, of services that read what was prepared: minutes, and 3 GB on the disk.
consumers: $(DEV_STAMP) $(VENV)-old/.made $(VENV)-newest/.made ## both an old and a new service's libraries read the models
	@export OLD_PYTHON=$(abspath $(VENV)-old/bin/python) NEWEST_PYTHON=$(abspath $(VENV)-newest/bin/python); \
	  $(PROOF) tests/proofs/consumers $(ARGS)

matrix: $(DEV_STAMP) ## every named damage and harmless change to a home, through pytest --offline
	@$(PROOF) tests/proofs/matrix -k samples $(ARGS)

# Trained once and kept in the user's cache, by an environment of their own; ARGS="-k mpnet" chooses.
zoo: $(DEV_STAMP) $(VENV)-tools/.made ## stand-ins of fifty kinds of models, each as docs/models.md says
	@export ZOO_PYTHON=$(abspath $(VENV)-tools/bin/python); $(PROOF) tests/proofs/zoo $(ARGS)

# Each row of docs/operations.md by a whole run, and a real model whose run is killed ten times.
faults: $(DEV_STAMP) ## every fault of the network by a whole run: minutes, mostly waiting
	@$(PROOF) tests/proofs/faults $(ARGS)

image-test: $(DEV_STAMP) ## build the image and run it, as containers are run
	@$(PROOF) tests/proofs/image $(ARGS)

page-test: $(DEV_STAMP) ## the page of real runs in a headless Chromium; pictures in reports/page
	@$(PROOF) tests/proofs/page $(ARGS)

# Readers of junit from npm; and promtool, of Debian's prometheus.
dashboards-test: $(DEV_STAMP) $(VENV)-dashboards/.made ## dashboards' own readers read the reports of real runs; needs npm and promtool
	@export READERS=$(abspath $(VENV)-dashboards); $(PROOF) tests/proofs/dashboards $(ARGS)

$(VENV)-dashboards/.made: tests/proofs/dashboards/package.json
	@rm -rf $(@D) && mkdir -p $(@D) && cp $< $(@D)
	@npm install --prefix $(@D) --no-audit --no-fund
	@touch $@

bench: $(DEV_STAMP) ## times and memory against peers, into docs/performance.md: 40 minutes on an idle machine
	@$(PY) -m benchmarks.bench $(ARGS)

mutants: $(DEV_STAMP) $(VENV)-mutants/.made ## change the code of the checks, a place at a time: do tests notice?
	@$(VENV)-mutants/bin/python -m tools.mutants --python $(PY) $(ARGS)

$(VENV)-mutants/.made: tools/mutants/requirements.txt | $(USER_STAMP)
	@rm -rf $(@D) && $(PY) -m venv $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check --no-input install -q -r $<
	@touch $@

full-size: $(DEV_STAMP) ## stand-ins of the real reranker and seq2seq model, full size: times and memory
	$(PY) -m benchmarks.full_size $(ARGS)

recipes: $(DEV_STAMP) ## the steps of the CI recipes in docs/ci.md, with every check
	@export RECIPE_CHECKS=; $(call beat,30,still testing) $(PY) -m pytest -c tests/pytest.ini tests/system/test_ci.py $(ARGS)

coverage: $(DEV_STAMP) $(OVERLAY_STAMP) ## how much of prep/ the tests run, child processes included
	$(PY) -m coverage erase
	@export COVERAGE_FILE=$(CURDIR)/.coverage; $(call beat,30,still testing) $(PY) -m coverage run -m pytest -c tests/pytest.ini $(SIDE_BY_SIDE) $(TESTS) $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

clean: ## remove what checks leave behind; never models, never the environment
	rm -rf reports build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
	find conftest.py prep model_tests sample_hub tests tools -name __pycache__ -prune -exec rm -rf {} +

$(USER_STAMP):
	@$(PYTHON) -c 'import sys' || { echo "model-prep needs Python 3.11 to 3.13, but $(PYTHON) cannot be run: give one with PYTHON="; exit 1; }
	@$(PYTHON) -c '$(FITS)'
	@$(PIP) --version >/dev/null 2>&1 || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@$(PY) -c '$(FITS)'
	@rm -f $(VENV)/.model-prep-*
# torch comes first and alone, and what it needs with the rest: the extra index is asked for torch
# and for nothing else.
	@echo "installing torch into $(VENV) (about 200 MB; CUDA builds take far more)"
	@$(INSTALL) --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@echo "installing the rest"
	@$(INSTALL) -r requirements.txt setuptools
# This checkout as a package, so that pytest knows its options before it looks for its settings.
	@$(INSTALL) -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)-%/.made: tests/proofs/consumers/%.txt requirements-tested.txt | $(USER_STAMP)
	@rm -rf $(@D)
	@$(PY) -m venv $(@D)
	@echo "installing a service's libraries into $(@D)"
	@$(call beat,8,still installing) $(@D)/bin/python -m pip --disable-pip-version-check --no-input install -q --no-deps \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$$(grep '^torch==' requirements-tested.txt)"
	@$(call beat,8,still installing) $(@D)/bin/python -m pip --disable-pip-version-check --no-input install -q -r $< \
	  "$$(grep '^torch==' requirements-tested.txt)"
	@touch $@

$(VENV)-tools/.made: tools/requirements.txt requirements.txt | $(USER_STAMP)
	@rm -rf $(@D)
	@$(PY) -m venv $(@D)
	@echo "installing what trains models into $(@D)"
	@$(call beat,8,still installing) $(@D)/bin/python -m pip --disable-pip-version-check --no-input install -q --no-deps \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$$(grep '^torch==' requirements-tested.txt)"
	@$(call beat,8,still installing) $(@D)/bin/python -m pip --disable-pip-version-check --no-input install -q -r $<
	@touch $@

$(DEV_STAMP): $(USER_STAMP)
	@echo "installing what tests and checks need"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

# Only a few architectures need it: a failure is reported, the rest is prepared, and the next make
# tries again.
$(OVERLAY_STAMP): | $(USER_STAMP)
	@echo "installing the second converter (13 MB to fetch, 133 MB on the disk)"
	@$(call beat,8,still installing) $(PY) -m prep.convert.overlay && touch $@ || \
	  echo "The second converter is not installed: models that need it are refused. Try again: $(PY) -m prep.convert.overlay"
