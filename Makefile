# SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
# Run as root (`sudo make …`): tracing needs it, and so does installing what is missing.
# The Python that the virtual environment is made with.
PYTHON ?= "$$(sh vagrant/provision.sh python)"
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
Q := $(if $(V),,@)

.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.run ## install what is missing; leaves .venv/bin/accepttrace
	$(Q)$(BIN)/python -m compileall -q tracer # else each start does where none may be written
	@echo "ready: $(BIN)/accepttrace"

$(VENV)/.run: pyproject.toml vagrant/provision.sh bpf/hatch_build.py
	$(Q)sh vagrant/provision.sh run
	$(Q)[ -x $(BIN)/python ] || $(PYTHON) -m venv --system-site-packages $(VENV)
	$(Q)$(BIN)/pip install --quiet --disable-pip-version-check -e '.[record,report,exporter]'
	$(Q)touch $@

$(VENV)/.test: $(VENV)/.run
	$(Q)sh vagrant/provision.sh test
	$(Q)$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(Q)touch $@

$(VENV)/.viewers: $(VENV)/.test
	$(Q)sh vagrant/provision.sh viewers
	$(Q)touch $@

$(VENV)/.vm: $(VENV)/.test
	$(Q)sh vagrant/provision.sh vm
	$(Q)$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,vm]'
	$(Q)touch $@

$(VENV)/.mutants: $(VENV)/.test
	$(Q)$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,mutants]'
	$(Q)touch $@

$(VENV)/.bench: $(VENV)/.vm
	$(Q)sh vagrant/provision.sh bench
	$(Q)touch $@

objects: $(VENV)/.run
	$(Q)$(MAKE) --no-print-directory -C bpf

FLOOD := $(wildcard bench/flood*.c)

bench/flood: $(FLOOD) bench/flood.h bench/common.h $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -o $@ $(FLOOD)

bench/churn: bench/churn.c bench/common.h $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -pthread -o $@ $<

bench/crowd: bench/crowd.c $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -o $@ $<

bench/loop: bench/loop.c bench/common.h bench/mark.h $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -o $@ $<

bench/empty: bench/empty.c $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -o $@ $< -lbpf

bench/empty.bpf.o: bench/empty.bpf.c $(VENV)/.test
	$(Q)clang -g -O2 -target bpf -mcpu=v3 -Wall -Werror \
		$(addprefix -idirafter ,$(wildcard /usr/include/$(shell uname -m)-linux-gnu)) -c $< -o $@

bench/profile.so: bench/profile.c bench/mark.h bench/qemu_plugin.h $(VENV)/.test
	$(Q)cc -O2 -Wall -Wextra -Werror -shared -fPIC -o $@ $<

demo: objects ## real nginx and lab servers under load, traced
	$(Q)$(BIN)/accepttrace demo --server nginx reuseport -d 8
	$(Q)$(BIN)/accepttrace demo epoll -d 8

PLACE ?= here
TESTS ?= tests/unit tests/contract tests/kernel tests/servers tests/hostile

# Of bare systems nothing is looked at in a browser, or scraped by Prometheus.
test: $(VENV)/.test $(if $(filter here,$(PLACE)),$(VENV)/.viewers) objects bench/flood ## all tests that this machine can run
	$(Q)$(PYTEST) -q --place $(PLACE) $(TESTS)

test-vm: $(VENV)/.vm objects ## the kernel tests in a VM with Debian's 6.1 kernel
	$(Q)$(BIN)/python vm/run.py --quiet --timeout 2700 --rows 6.1

test-kernels: $(VENV)/.vm objects ## the kernel tests in VMs with every kernel of the list
	$(Q)$(BIN)/python vm/run.py --quiet --timeout 2700

DIST ?= dist

dist: $(VENV)/.test objects ## wheel, sdist, accepttrace.pyz, Debian package with manual pages, release notes
	$(Q)REPOSITORY_URL=$(URL) $(BIN)/python vagrant/packages.py $(DIST)

test-provision: ## provision.sh, setup and test on bare Debian 12 and 13, by debootstrap
	$(Q)sh vagrant/test_provision.sh

vagrant-validate: ## the Vagrantfile for each provider, and the shell scripts
	$(Q)sh vagrant/provision.sh boxes
	$(Q)sh vagrant/validate.sh
	$(Q)shellcheck vagrant/*.sh

N ?= 300
SEED ?= 1

mutants: $(VENV)/.mutants objects ## which of 300 small changes the tests do not notice; N=0 SEED=2
	$(Q)$(BIN)/python -m tests.mutants.run --number $(N) --seed $(SEED)

bench: $(VENV)/.test objects bench/flood ## start, memory, CPU, exactness at 40,000/s; bench-cost
	$(Q)$(BIN)/python bench/figures.py
	$(Q)$(MAKE) --no-print-directory bench-cost

SECONDS ?= 1800

soak: $(VENV)/.test objects bench/flood bench/churn ## half an hour of churn and a hostile user; SECONDS=120
	$(Q)$(BIN)/python -m bench.soak --seconds $(SECONDS)

COUNTED := $(VENV)/.bench objects bench/loop bench/empty bench/empty.bpf.o
ROWS ?= 6.1,7.x
ONLY ?= ^fentry libbpf

bench-cost: $(COUNTED) ## instructions added to a connection, in VMs, to docs/cost.md
	$(Q)$(BIN)/python -m bench.cost --rows $(ROWS) --write docs/cost.md

bench-where: $(COUNTED) bench/profile.so ## those by kernel function; ONLY=regex, ROWS=6.1
	$(Q)$(BIN)/python -m bench.cost --rows $(ROWS) --only '$(ONLY)' --where

bench-holders: $(VENV)/.test objects bench/crowd ## what it costs to know who holds what, by size
	$(Q)$(BIN)/python -m bench.holders

screenshots: $(VENV)/.test objects ## the pictures of the README, from real runs
	$(Q)$(BIN)/python bench/screenshots.py docs

docs: $(VENV)/.test ## docs/columns.md and explain.md, the JSON schemas and the table of kernels, from their tables of data
	$(Q)$(BIN)/python docs/generate.py
	$(Q)$(BIN)/python -m vm.support

lint: $(VENV)/.test ## ruff, mypy --strict, each BPF header alone, clang-format
	$(Q)$(BIN)/ruff check .
	$(Q)$(BIN)/ruff format --check .
	$(Q)$(BIN)/mypy --strict
	$(Q)$(MAKE) --no-print-directory -C bpf headers
	$(Q)$(BIN)/clang-format --style=file:bpf/.clang-format --dry-run -Werror bpf/*.[ch] bpf/*/*.[ch] bench/*.[ch] tests/*/*.c

clean: ## remove what was built, and the virtual environment
	$(Q)rm -rf $(VENV) build dist
	$(Q)rm -f bench/flood bench/crowd bench/churn bench/loop bench/empty bench/empty.bpf.o bench/profile.so
	$(Q)$(MAKE) --no-print-directory -C bpf clean

.PHONY: help setup objects demo test docs test-vm test-kernels test-provision vagrant-validate mutants \
	dist bench bench-cost bench-where bench-holders soak screenshots lint clean
