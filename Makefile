# sqld's front door. CMakeLists.txt says what is built from what; this file says what there is to do.
#
#     make              builds build/bin/sqld, build/bin/sqld-exec, build/lib/libsqlite3.so.0 (the drop-in client)
#     make run          installs what is missing, builds, runs on 127.0.0.1:5432 with its data in ./data
#                       (ARGS='--log-level debug' adds options)
#     make test         installs, builds and runs all tests; the last line is `N passed, N failed, N skipped`
#     make unit         the unit tests alone                make integration    pytest alone (PYTEST='-k name')
#     make check        form, lint, room rules, banned functions, generated documents, a build with clang
#     make check-asan   unit and integration tests under AddressSanitizer and UndefinedBehaviorSanitizer, and of the client
#                       those that cut its network and use it from many threads
#     make check-tsan   the same under ThreadSanitizer
#     make check-fuzz   every fuzzer on its corpus and FUZZ_RUNS (20000) inputs, the same ones every time
#     make soak         long runs for SOAK_SECONDS (600) each: power cuts in a working server; the log and the memory of one
#                       that writes under readers who never cease (SOAK_SECONDS=3600: an hour); a network that is cut again
#                       and again between the drop-in and a server
#     make fuzz         every fuzzer for FUZZ_SECONDS (60), from a random place
#     make bench        sqld beside PostgreSQL and SQLite, into docs/benchmarks.md: some ten minutes, on a machine that does
#                       nothing else (BENCH_SECONDS=1 BENCH_ROUNDS=1 BENCH_ONLY=select,result: a quick look)
#     make compat       other people's test suites with SQLite's library and with the drop-in: tests/compat/README.md
#                       (COMPAT='cpython shell': only those; COMPAT_ARGS=--local: without a server; make compat-docs:
#                       writes docs/compatibility-results.md)
#     make format       formats the C files
#     make docs         writes docs/sqld.1, docs/configuration.md and docs/client-compatibility.md anew
#     make install      PREFIX (/usr/local) and DESTDIR are respected
#     make deb          a Debian package, into build-deb/
#     make gdb          runs the server under gdb           make clean          removes everything built
#     make deps         installs what all of this needs     DEPS=no             installs nothing

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
DEPS ?= yes
ARGS ?=
PYTEST ?=
COMPAT ?=
COMPAT_ARGS ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
FUZZ_RUNS ?= 20000

cmake = cmake -G Ninja -S .
c_files = $$(git ls-files -co --exclude-standard '*.c' '*.h' | while read -r f; do [ -f "$$f" ] && echo "$$f"; done)

.PHONY: all build run test unit integration venv check check-format check-rooms check-banned check-tables check-lint \
	check-clang check-asan check-tsan check-fuzz soak fuzz fuzzers bench compat compat-docs format docs install deb gdb \
	clean deps deps-build deps-test deps-check deps-bench deps-compat
.NOTPARALLEL:

all: build

# --- what is needed ---

deps: deps-build deps-test deps-check
deps-build deps-test deps-check deps-bench deps-compat:
ifneq ($(DEPS),no)
	@scripts/deps.sh $(@:deps-%=%)
endif

# Python packages of the tests, as tests/requirements.txt pins them. Debian's python3, whichever others there are.
venv: build/venv/ready
build/venv/ready: tests/requirements.txt
	@echo "preparing build/venv"
	@rm -rf build/venv && mkdir -p build
	@/usr/bin/python3 -m venv build/venv
	@build/venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

# --- building and running ---

# Ninja runs CMake again by itself when its files or the lists of sources change.
$(BUILD)/build.ninja:
	@CC=$${CC:-gcc} $(cmake) -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(CMAKE_ARGS) >/dev/null

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet sqld client sqld-exec client_table

run: deps-build
	@$(MAKE) --no-print-directory build
	@exec $(BUILD)/bin/sqld $(ARGS)

gdb: build
	gdb -q -x scripts/gdb.py --args $(BUILD)/bin/sqld $(ARGS)

install: build
	@DESTDIR=$(DESTDIR) cmake --install $(BUILD) --prefix $(PREFIX)

# A build of its own: the paths in it are those below /usr.
deb: deps-build
	@CC=$${CC:-gcc} $(cmake) -B build-deb -DCMAKE_INSTALL_PREFIX=/usr $(CMAKE_ARGS) >/dev/null
	@ninja -C build-deb --quiet sqld client sqld-exec
	@cd build-deb && rm -f *.deb && cpack -G DEB >cpack.log 2>&1 || { cat cpack.log; exit 1; }
	@ls build-deb/*.deb

clean:
	rm -rf build build-*

# --- tests ---

test: deps-build deps-test
	@$(MAKE) --no-print-directory build venv
	@ninja -C $(BUILD) --quiet unit_tests
	@scripts/run-tests.py --build $(BUILD) -- $(PYTEST)

unit: build
	@ninja -C $(BUILD) --quiet unit_tests
	@scripts/run-tests.py --build $(BUILD) --unit

integration: build venv
	@scripts/run-tests.py --build $(BUILD) --integration -- $(PYTEST)

# The sanitizers' builds have directories of their own; what takes long and finds nothing more there is left out.
sanitized = -m 'not slow or race' --timeout 300 integration $(sanitized_client) $(PYTEST)
# Programs of ours that are built with the sanitizer can load a library that is.
sanitized_client = client/test_network.py client/test_threads.py

check-asan: deps-build deps-test venv
	@CC=gcc $(cmake) -B build-asan -DSQLD_SANITIZE=address,undefined >/dev/null
	@ninja -C build-asan --quiet sqld client unit_tests
	@scripts/run-tests.py --build build-asan -- $(sanitized)

check-tsan: deps-build deps-test venv
	@CC=gcc $(cmake) -B build-tsan -DSQLD_SANITIZE=thread >/dev/null
	@ninja -C build-tsan --quiet sqld client unit_tests
	@scripts/run-tests.py --build build-tsan -- $(sanitized)

# Prints its seed; SOAK_ARGS='--seed N' plays that one again.
soak: build venv
	@ninja -C $(BUILD) --quiet unit_crash_cuts
	@$(BUILD)/tests/unit_crash_cuts --seconds $(SOAK_SECONDS) $(SOAK_ARGS)
	@SQLD_SOAK_SECONDS=$(SOAK_SECONDS) SQLD_BIN=$(abspath $(BUILD))/bin/sqld build/venv/bin/pytest -q -s -n 0 tests/integration/test_soak.py
	@SQLD_NETWORK_SECONDS=$(SOAK_SECONDS) SQLD_BIN=$(abspath $(BUILD))/bin/sqld build/venv/bin/python -m pytest -q -s -n 0 \
		--timeout $$(($(SOAK_SECONDS) * 2 + 600)) tests/client/test_network.py

fuzzers: deps-build deps-check
	@CC=clang $(cmake) -B build-fuzz -DSQLD_FUZZ=ON >/dev/null
	@ninja -C build-fuzz --quiet fuzzers

fuzz: fuzzers
	@scripts/fuzz.sh build-fuzz seconds $(FUZZ_SECONDS)

check-fuzz: fuzzers
	@scripts/fuzz.sh build-fuzz runs $(FUZZ_RUNS)

bench: deps-build deps-bench
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory --silent $(BUILD)/bench/load $(BUILD)/bench/floor $(BUILD)/bench/embedded \
		$(BUILD)/bench/dropin
	@bench/bench.py --build $(BUILD)

# Sources that Debian does not package come from its source packages; what cannot be had is skipped, visibly.
compat compat-docs: deps-build deps-compat
	@$(MAKE) --no-print-directory build
ifneq ($(DEPS),no)
	@scripts/compat-deps.sh $(BUILD)/compat/src
endif
	@SQLD_BIN=$(abspath $(BUILD))/bin/sqld tests/compat/compat.py --work $(BUILD)/compat \
		$(if $(filter compat-docs,$@),--docs) $(COMPAT_ARGS) $(COMPAT)

bench_flags = -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Werror
$(BUILD)/bench/load: bench_packages = libpq
$(BUILD)/bench/embedded $(BUILD)/bench/dropin: bench_packages = sqlite3
$(BUILD)/bench/%: bench/%.c
	@mkdir -p $(@D)
	@$(CC) $(bench_flags) $(if $(bench_packages),$$(pkg-config --cflags $(bench_packages))) -o $@ $< -pthread \
		$(if $(bench_packages),$$(pkg-config --libs $(bench_packages)))

# --- checks ---

checks = check-format check-rooms check-banned check-tables check-lint check-clang

# All of them, even when one has found something.
check: deps-build deps-check
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory -k $(checks)
	@echo "check: ok"

check-format:
	@found=$$(clang-format --dry-run $(c_files) 2>&1 | sed -n 's/:[0-9]*:[0-9]*: warning: .*//p' | uniq -c); \
		[ -z "$$found" ] || { echo "$$found"; echo "check-format: make format puts that right"; exit 1; }
check-rooms:
	@scripts/check-rooms.py
check-banned:
	@scripts/check-banned.py
check-tables: build
	@scripts/check-tables.py $(BUILD)
check-lint:
	@scripts/lint.py

# The second compiler, with its own warnings as errors.
check-clang:
	@CC=clang $(cmake) -B build-clang >/dev/null
	@ninja -C build-clang --quiet sqld client sqld-exec client_table unit_tests

format:
	@clang-format -i $(c_files)

docs: build
	@$(BUILD)/bin/sqld --print-man >$(BUILD)/sqld.1 && mv $(BUILD)/sqld.1 docs/sqld.1
	@$(BUILD)/bin/sqld --print-config-reference >$(BUILD)/configuration.md && \
		mv $(BUILD)/configuration.md docs/configuration.md
	@$(BUILD)/tools/client_table >$(BUILD)/client-compatibility.md && \
		mv $(BUILD)/client-compatibility.md docs/client-compatibility.md
