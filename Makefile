# SPDX-License-Identifier: BSD-3-Clause
# The front door. Meson builds in $(BUILD); what a fresh Debian 12 or 13 lacks is installed from packages.txt.
BUILD ?= build
PYTHON := /usr/bin/python3

.PHONY: all packages demo demo-vms check fuzz bench install clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

packages:
	./scripts/install-packages packages.txt

demo: packages
	$(MAKE) all
	./scripts/demo $(BUILD)

demo-vms: packages
	$(MAKE) all
	./tests/guest/demo-vms $(BUILD)

check: packages
	./scripts/check $(BUILD)

# Each target for a minute, or for FUZZ_SECONDS.
FUZZ_SECONDS ?= 60
fuzz: packages
	[ -f $(BUILD)-fuzz/build.ninja ] || CC=clang meson setup $(BUILD)-fuzz -Dfuzz=true -Dtests=false -Dbench=false \
		-Db_sanitize=address,undefined -Db_lundef=false
	ninja -C $(BUILD)-fuzz fuzzers
	./tests/fuzz/run $(BUILD)-fuzz $(FUZZ_SECONDS)

# The published numbers come from a build of their own; see bench/README.md.
bench: packages
	./bench/install-peers bench/packages.txt
	[ -f $(BUILD)-bench/build.ninja ] || meson setup $(BUILD)-bench --buildtype=release -Db_lto=true
	ninja -C $(BUILD)-bench
	$(PYTHON) bench/run.py --build $(BUILD)-bench

install: all
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-*
