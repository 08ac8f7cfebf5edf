# SPDX-License-Identifier: Apache-2.0
# A thin front of Meson. Every target installs the Debian or Ubuntu packages that it needs and that are missing.
MESON_FLAGS ?=
JOBS ?= $(shell nproc)
DEMO = build/demo

.PHONY: all build run test bench lint fmt asan tsan fuzz docs install clean

all: build

build:
	tools/install-packages build
	tools/setup build -Dtests=false -Dbench=false $(MESON_FLAGS)
	ninja -C build -j $(JOBS) tierline

# A sample market, its daily calculation, and what to type next.
run: build
	tools/demo build/tierline $(DEMO)

test:
	tools/install-packages build test
	tools/setup build/test $(MESON_FLAGS)
	ninja -C build/test -j $(JOBS)
	tools/run-tests build/test

bench:
	tools/install-packages build test bench
	tools/setup build/bench --buildtype=release -Dtests=false -Dbench=true $(MESON_FLAGS)
	ninja -C build/bench -j $(JOBS)
	tools/bench build/bench build/bench.json

lint:
	tools/install-packages build test lint
	tools/lint

fmt:
	tools/install-packages lint
	git ls-files '*.c' '*.h' '*.cc' | grep -v '\.tbl\.h$$' | xargs clang-format -i

asan:
	tools/install-packages build test
	tools/setup build/asan -Db_sanitize=address,undefined $(MESON_FLAGS)
	ninja -C build/asan -j $(JOBS)
	tools/run-tests build/asan

tsan:
	tools/install-packages build test
	tools/setup build/tsan -Db_sanitize=thread $(MESON_FLAGS)
	ninja -C build/tsan -j $(JOBS)
	tools/run-tests build/tsan workers store run daily calc memory redis cache tiers lock lock_hammer

fuzz:
	tools/install-packages build fuzz
	tools/fuzz build/fuzz $${FUZZ_SECONDS:-60}

# The man page and the table of indicators come out of the binary.
docs: build
	build/tierline help --man > build/tierline.1
	build/tierline indicators > build/indicators.txt

install: build
	meson install -C build

clean:
	rm -rf build
