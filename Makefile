# The commands of this repository. `make` alone lists them.

VENV ?= .venv
PYTHON := $(VENV)/bin/python
RULES ?= rules.example.yaml
# Options for pytest, as in: make e2e PYTEST_ARGS="-k teardown -x"
PYTEST_ARGS ?=
# The end-to-end tests also wait, so more of them than there are processors run side by side: four
# keep two processors busy for nine tenths of the time. One file by one process, which makes its
# network once.
E2E_JOBS ?= 4

# The tests start the router hundreds of times: what Python has compiled is kept.
unexport PYTHONDONTWRITEBYTECODE

# On a Mac the unit tests are those that import nothing of Linux (tests/unit/conftest.py), and what
# is tried there takes the place of the end-to-end tests; nothing is installed but Python packages.
SYSTEM := $(shell uname -s)
ifeq ($(SYSTEM),Darwin)
UNIT_TESTS := tests/unit
END_TO_END := macos
else
UNIT_TESTS := tests/unit tests/fuzz
END_TO_END := e2e
endif

# Of `make fuzz`: minutes for inputs in bytes; property tests try TIMES as many as they have.
MINUTES ?= 10
TIMES ?= 5
PROPERTIES := tests/unit/config tests/unit/wire tests/unit/flows \
    tests/unit/engine/direct/test_any_packet.py tests/unit/platform/test_prefix_records.py \
    tests/unit/platform/test_leftovers.py

# What checks the accessibility of the page: axe-core, by npm, as tests/web/package-lock.json names it.
AXE := tests/web/node_modules/.package-lock.json

AS_ROOT := scripts/as-root
ROOTLESS_BENCHES := $(basename $(notdir $(wildcard bench/load_rules.py bench/lookup.py bench/watch.py)))

.PHONY: help run check e2e macos test test-lowest test-newest fuzz faults soak bench lock packages \
    screenshots dist deb man docs links release-check clean

help:
	@echo 'make run     make the virtual environment, install, and start the router on $(RULES)'
	@echo 'make test    everything: check and e2e; installs the Debian packages they need'
	@echo 'make check   ruff, mypy for Linux and macOS, unit tests; needs no root'
	@echo 'make e2e     end-to-end tests in network namespaces; needs root (by sudo)'
	@echo 'make macos   on a Mac, in the place of e2e: programs through a utun; needs root (by sudo)'
	@echo 'make test-lowest, make test-newest'
	@echo '             check, with the lowest and the newest versions that pyproject.toml allows'
	@echo 'make fuzz    many inputs for every parser and the flow tables, for MINUTES=10; needs no root'
	@echo 'make faults  every fault at every call to the kernel of a run (hours); needs root:'
	@echo '             FAULTS="--every 20" for some, FAULTS="--only EMFILE" for those that match,'
	@echo '             FAULTS="--results FILE --minutes 10" for a part, again for the next one'
	@echo 'make soak    traffic, reloads, flaps and floods for 30 minutes: SOAK="--minutes 5"'
	@echo 'make bench   measure against the bare path and sing-box; needs root'
	@echo 'make screenshots'
	@echo '             take the pictures of the web page and of top in docs/images; installs Chromium'
	@echo 'make dist    build the sdist, and the wheel from it, in dist/; fetches nothing'
	@echo 'make docs    build the documentation in build/site, and check its links'
	@echo 'make links   fetch every page of other hosts that the documentation leads to'
	@echo 'make deb     build the Debian package in dist/, with the libraries that are installed here'
	@echo 'make man     write the manual pages to build/man'
	@echo 'make release-check'
	@echo '             walk docs/releasing.md: everything that a release has to pass; needs root'
	@echo 'make lock    renew requirements/*.lock, the versions and hashes that are installed'
	@echo 'make clean   remove the virtual environment and what the tools cached'

run: $(VENV)/run.stamp
	@$(AS_ROOT) $(VENV)/bin/tunrouter run -c $(RULES)

# A cache for each system, so that both run at a time, and neither spoils the other's.
MYPY = $(PYTHON) -m mypy --cache-dir .mypy_cache

define CHECK
$(PYTHON) -m ruff check .
$(PYTHON) -m ruff format --check .
$(MYPY)/linux --platform linux & linux=$$!; \
    $(MYPY)/darwin --platform darwin; darwin=$$?; \
    wait $$linux && test $$darwin -eq 0
$(PYTHON) -m pytest -n 2 $(UNIT_TESTS) $(PYTEST_ARGS)
endef

check: $(VENV)/test.stamp
	$(CHECK)

# Both install anew each time: what is the newest changes without a change here.
test-lowest test-newest: test-%:
	@scripts/make-venv .venv-$* $*
	$(CHECK)

test-lowest: PYTHON := .venv-lowest/bin/python
test-newest: PYTHON := .venv-newest/bin/python

e2e: $(VENV)/test.stamp packages $(AXE)
	$(AS_ROOT) $(PYTHON) -m pytest -p no:cacheprovider -n $(E2E_JOBS) \
	    --dist loadfile --no-loadscope-reorder tests/e2e $(PYTEST_ARGS)

# The Debian packages first: what can't run at all should say so before the long part. And beside
# them the virtual environment: both wait for the network.
test:
	@$(MAKE) --no-print-directory --jobs=2 packages $(VENV)/test.stamp
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory $(END_TO_END)

# On a Mac alone: see tests/macos.
macos: $(VENV)/test.stamp
	$(AS_ROOT) $(PYTHON) -m tests.macos

fuzz: $(VENV)/test.stamp
	$(PYTHON) -m tests.fuzz --minutes $(MINUTES)
	TUNROUTER_EXAMPLES=$(TIMES) $(PYTHON) -m pytest -q -n 2 -k 'not golden' $(PROPERTIES) $(PYTEST_ARGS)

faults: $(VENV)/test.stamp packages
	$(AS_ROOT) $(PYTHON) -m tests.faults $(FAULTS)

soak: $(VENV)/test.stamp packages
	$(AS_ROOT) $(PYTHON) -m tests.soak $(SOAK)

bench: $(VENV)/test.stamp packages
	@failed=0; \
	$(AS_ROOT) $(PYTHON) -m bench.start || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.icmp || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.tcp || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.udp || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.socks || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.cost || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.uplink || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.counting || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.check || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.reload || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.control || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.web || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.followers || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.recovery || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.foreign_routes || failed=1; \
	echo; $(AS_ROOT) $(PYTHON) -m bench.floods || failed=1; \
	for bench in $(ROOTLESS_BENCHES); do \
	    echo; echo "bench.$$bench"; $(PYTHON) -m bench.$$bench || failed=1; \
	done; \
	exit $$failed

screenshots: $(VENV)/test.stamp packages
	$(PYTHON) -m tests.web.screenshots docs/images
	$(AS_ROOT) $(PYTHON) -m tests.e2e.top_picture docs/images/top.svg

dist: $(VENV)/run.stamp
	@$(PYTHON) -m scripts.dist dist

docs: $(VENV)/test.stamp
	$(PYTHON) -m scripts.rules
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict

links: $(VENV)/run.stamp
	$(PYTHON) -m scripts.links

deb: $(VENV)/run.stamp
	@$(PYTHON) -m scripts.deb dist

# What tests/release needs beside the packages of the tests, none of which starts a service.
release-check: $(VENV)/test.stamp packages
	scripts/install-debian-packages debootstrap podman runc
	$(PYTHON) -m scripts.release
	@$(MAKE) --no-print-directory docs test test-lowest test-newest dist deb
	git diff --exit-code --stat
	$(AS_ROOT) $(PYTHON) -m pytest -p no:cacheprovider tests/release $(PYTEST_ARGS)
	@echo 'What is left, by hand, and the tag: docs/releasing.md'

man: $(VENV)/run.stamp
	@$(PYTHON) -m scripts.manual build/man

ifeq ($(SYSTEM),Darwin)
packages:
	@echo 'macOS: no packages are installed; the end-to-end tests of Linux (namespaces) are left out'
else
packages:
	@scripts/install-debian-packages
endif

lock:
	@scripts/renew-locks

# A machine with the Node.js of another source has npm, and cannot have Debian's.
$(AXE): tests/web/package-lock.json
	@command -v npm >/dev/null || scripts/install-debian-packages npm
	npm ci --prefix tests/web --ignore-scripts --no-audit --no-fund --silent
	@touch $@

clean:
	rm -rf $(VENV) .venv-lock .venv-lowest .venv-newest build dist *.egg-info
	rm -rf tests/web/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find router tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed anew whenever pyproject.toml or a lock changes; the source itself is used in place.
$(VENV)/run.stamp: pyproject.toml requirements/run.lock
	@scripts/make-venv $(VENV) run
	@touch $@

$(VENV)/test.stamp: pyproject.toml requirements/test.lock
	@scripts/make-venv $(VENV) test
	@touch $@ $(VENV)/run.stamp
