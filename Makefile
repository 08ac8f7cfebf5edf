# SPDX-License-Identifier: Apache-2.0
# A thin front of Meson. Every target installs the Debian or Ubuntu packages that it needs and that are missing.
MESON_FLAGS ?=
JOBS ?= $(shell nproc)
DEMO = build/demo

.PHONY: all build run test bench lint fmt asan tsan fuzz model docs screenshots install clean

all: build

# npm is for the dashboard: without it, or without a network, the build goes on and says how to get it later.
build:
	tools/install-packages build $(if $(findstring -Ddashboard=disabled,$(MESON_FLAGS)),,--optional dashboard)
	tools/setup build -Dtests=false -Dbench=false -Ddashboard=auto $(MESON_FLAGS)
	ninja -C build -j $(JOBS) tierline

# A sample market, its daily calculation, and what to type next.
run: build
	tools/demo build/tierline $(DEMO)

test:
	tools/install-packages build test
	tools/setup build/test -Ddashboard=auto $(MESON_FLAGS)
	ninja -C build/test -j $(JOBS)
	tools/run-tests build/test

bench:
	tools/install-packages build test bench
	tools/setup build/bench --buildtype=release -Dtests=false -Dbench=true -Ddashboard=auto $(MESON_FLAGS)
	ninja -C build/bench -j $(JOBS)
	tools/bench build/bench build/bench.json

lint:
	tools/install-packages build test lint
	tools/lint

fmt:
	tools/install-packages lint
	git ls-files '*.c' '*.h' '*.cc' | grep -v '\.tbl\.h$$' | xargs clang-format -i

# With the failpoints: processes are killed and stopped at every step of computing once.
asan:
	tools/install-packages build test
	tools/setup build/asan -Db_sanitize=address,undefined -Dfailpoints=true -Ddashboard=disabled $(MESON_FLAGS)
	ninja -C build/asan -j $(JOBS)
	tools/run-tests build/asan

tsan:
	tools/install-packages build test
	tools/setup build/tsan -Db_sanitize=thread -Ddashboard=disabled $(MESON_FLAGS)
	ninja -C build/tsan -j $(JOBS)
	tools/run-tests build/tsan workers store run daily calc memory redis cache tiers lock lock_hammer compute symbol once \
		event bus jobs lend local_locks talk

fuzz:
	tools/install-packages build fuzz
	tools/fuzz build/fuzz $${FUZZ_SECONDS:-60}

# Every state of the protocol in tests/model.
model:
	tools/install-packages model
	tools/check-model

# The man page and the table of indicators come out of the binary.
docs: build
	build/tierline help --man > build/tierline.1
	build/tierline indicators > build/indicators.txt

# Pictures of every page, of a sample market, into docs/images.
screenshots: build
	tools/install-packages test ci
	TL_TEST_BINARY=$(CURDIR)/build/tierline tests/system/dashboard.sh $(CURDIR) $(CURDIR)/build/screenshots screenshots $(CURDIR)/docs/images

install: build
	meson install -C build

clean:
	rm -rf build
