# Holdfast: set up, run, check. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
DATA ?= var
HOLDFAST_ARGS ?=
BENCHMARK_ARGS ?=
# Tests wait for disks and child processes, too: one process more than there are cores.
PYTEST_ARGS ?= --numprocesses=$(shell expr $$(nproc) + 1) --dist=worksteal

# How much the randomised tests do. Empty: what the tests themselves take for enough.
SOAK_FILTERS ?= 20000
SOAK_CRASHES ?= 200
SOAK_MACHINE_CRASHES ?= 200
SOAK_REPLICA_CRASHES ?= 200
SOAK_CHAIN_CRASHES ?= 200
SOAK_SEQUENCES ?= 10000
SOAK_REQUESTS ?= 100000
# Seconds that one test may take meanwhile.
SOAK_TIMEOUT ?= 86400

# Programs Holdfast calls, and those its tests call, too; with the Debian package each comes in.
PROGRAMS := qemu-img:qemu-utils qemu-nbd:qemu-utils restic:restic mke2fs:e2fsprogs curl:curl
TEST_PROGRAMS := mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkntfs:ntfs-3g ntfscp:ntfs-3g \
	mkfs.fat:dosfstools mkfs.exfat:exfatprogs mcopy:mtools sfdisk:fdisk libvirtd:libvirt-daemon \
	virt-qemu-run:libvirt-daemon-driver-qemu virsh:libvirt-clients \
	qemu-system-x86_64:qemu-system-x86 openssl:openssl
# What libvirt's Python module is compiled with. A path stands for what has no program.
LIBVIRT_BUILD := gcc:gcc pkg-config:pkg-config /usr/include/stdio.h:libc6-dev \
	/usr/include/libvirt/libvirt.h:libvirt-dev
LIBVIRT_STAMP := $(VENV)/.libvirt
# The kernel that a guest of the tests boots. Its package is unpacked here and never installed.
KERNEL := $(VENV)/kernel
KERNEL_PACKAGE := linux-image-cloud-amd64

# Sets as_root to what makes a command run as root: nothing, sudo, or "none" when there is no way.
find_root = if [ "$$(id -u)" = 0 ]; then as_root=''; \
	elif sudo -n true 2>/dev/null; then as_root='sudo -n'; \
	else as_root='none'; fi

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Install what is missing: Debian packages, Python packages, Holdfast itself
	@:

.PHONY: run
run: setup ## Start Holdfast with its data under ./var (flags: HOLDFAST_ARGS)
	@exec $(BIN)/holdfast up --data $(DATA) $(HOLDFAST_ARGS)

.PHONY: libvirt
libvirt: $(LIBVIRT_STAMP) ## Add what Holdfast needs for machines on libvirt
	@:

.PHONY: test
test: tools ## Run every test
	@$(BIN)/pytest $(PYTEST_ARGS)

.PHONY: soak
soak: tools ## Run every test, the randomised ones longer (the variables SOAK_...)
	@HOLDFAST_FILTERS=$(SOAK_FILTERS) HOLDFAST_CRASHES=$(SOAK_CRASHES) \
		HOLDFAST_MACHINE_CRASHES=$(SOAK_MACHINE_CRASHES) \
		HOLDFAST_REPLICA_CRASHES=$(SOAK_REPLICA_CRASHES) \
		HOLDFAST_CHAIN_CRASHES=$(SOAK_CHAIN_CRASHES) \
		HOLDFAST_SEQUENCES=$(SOAK_SEQUENCES) HOLDFAST_REQUESTS=$(SOAK_REQUESTS) \
		$(BIN)/pytest $(PYTEST_ARGS) --timeout=$(SOAK_TIMEOUT)

.PHONY: benchmark
benchmark: tools ## Compare the speed of backups and restores (BENCHMARK_ARGS; about three minutes)
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.data_plane $(BENCHMARK_ARGS)

.PHONY: lint
lint: setup ## Check style, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --strict
	@$(BIN)/lint-imports

.PHONY: format
format: setup ## Put the code into the house format
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

.PHONY: lock
lock: ## Make requirements.lock anew from pyproject.toml
	@$(PYTHON) -m venv --clear build/lock
	@build/lock/bin/pip install -qq pip-tools
	@build/lock/bin/pip-compile --quiet --allow-unsafe --extra=dev --generate-hashes \
		--no-emit-find-links --no-emit-index-url --no-emit-trusted-host --strip-extras \
		--output-file=requirements.lock pyproject.toml
	@echo libvirt-python | build/lock/bin/pip-compile --quiet --generate-hashes \
		--no-emit-find-links --no-emit-index-url --no-emit-trusted-host --strip-extras \
		--output-file=requirements-libvirt.lock -
	@rm -rf build/lock

.PHONY: clean
clean: ## Remove everything made here except data (./var)
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last and taken away first: an interrupted set-up leaves a $(VENV) without
# it, and the next run makes the environment anew.
$(STAMP): requirements.lock pyproject.toml | debian
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'make setup: Python 3.11 or newer is needed; name it with PYTHON=' >&2; exit 1; }
	@if ! [ -f $@ ] || ! $(BIN)/python -c 'import pip' 2>/dev/null; then \
		echo 'Making the Python environment in $(VENV)'; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi
	@rm -f $@
	@echo 'Installing the Python packages of requirements.lock'
	@$(BIN)/pip install -qq --require-hashes --requirement requirements.lock
	@$(BIN)/pip install -qq --no-deps --no-build-isolation --no-index --editable .
	@touch $@

# After the stamp of the environment, which a new set-up takes away with everything in it.
$(LIBVIRT_STAMP): requirements-libvirt.lock $(STAMP)
	@$(MAKE) --no-print-directory debian PROGRAMS="$(LIBVIRT_BUILD) $$($(BIN)/python -c \
		'import sysconfig; print(sysconfig.get_path("include"))')/Python.h:python3-dev"
	@echo 'Compiling the Python module of libvirt'
	@$(BIN)/pip install -qq --require-hashes --requirement requirements-libvirt.lock
	@touch $@

.PHONY: tools
tools: setup libvirt
	@$(MAKE) --no-print-directory debian PROGRAMS='$(TEST_PROGRAMS)'
	@$(MAKE) --no-print-directory $(KERNEL)

# The package depends on that of the newest kernel. Without a list of packages there is none.
$(KERNEL):
	@echo 'Fetching the kernel that a guest of the tests boots'
	@rm -rf build/kernel; mkdir -p build/kernel; cd build/kernel; \
	newest() { apt-cache depends $(KERNEL_PACKAGE) | sed -n 's/^ *Depends: *//p'; }; \
	$(find_root); \
	[ -n "$$(newest)" ] || [ "$$as_root" = none ] || $$as_root apt-get -qq update </dev/null; \
	apt-get -qq -o APT::Sandbox::User=root download "$$(newest)"; \
	dpkg-deb --extract ./*.deb unpacked
	@mv build/kernel/unpacked $@
	@rm -rf build/kernel

# Quiet when nothing is missing. /usr/sbin is where mke2fs is, and not in every user's PATH.
.PHONY: debian
debian:
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=''; \
	for pair in $(PROGRAMS); do \
		command -v "$${pair%%:*}" >/dev/null || [ -e "$${pair%%:*}" ] || \
			missing="$$missing $${pair#*:}"; \
	done; \
	if ! [ -f $(STAMP) ]; then \
		if ! command -v $(PYTHON) >/dev/null; then \
			missing="$$missing python3 python3-venv"; \
		elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
			missing="$$missing python3-venv"; \
		fi; \
	fi; \
	[ -n "$$missing" ] || exit 0; \
	$(find_root); \
	if [ "$$as_root" = none ] || ! command -v apt-get >/dev/null; then \
		echo "make setup: these Debian packages are missing:$$missing" >&2; \
		echo "make setup: as root, run: apt-get install --no-install-recommends$$missing" >&2; \
		exit 1; \
	fi; \
	echo "Installing Debian packages:$$missing"; \
	apt="$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0"; \
	$$apt update </dev/null; \
	$$apt install --no-install-recommends $$missing </dev/null >/dev/null
