# SPDX-License-Identifier: GPL-2.0
# What people type; "make help" lists it. Kbuild (beside this) is for the kernel's build.

MAKEFLAGS += --no-print-directory
export JOBS RUST_URING_CACHE KERNELS TESTS BREAK NATIVE

KDIR ?=
KERNEL ?= stock
CPUS ?= 2

ok = @printf '\033[1;32mok:\033[0m %s\n'
ko = build/$(1)/rust_uring/rust_uring.ko

all:
	@scripts/build.sh module $(or $(KDIR),auto)
	$(ok) "the module is built"

help:
	@echo "make               build the module: for KDIR=, else the running kernel when it can take a Rust"
	@echo "                   module, else Debian's stock kernel"
	@echo "make run           boot Debian's stock kernel, load the module, run a million requests, copy a tree of"
	@echo "                   files through it and through native io_uring, run fio on both, unload it"
	@echo "make test          KUnit and kselftests in guests with the stock kernel and with the test kernel"
	@echo "make shell         a guest to play in, with the module loaded (KERNEL=stock or test)"
	@echo "make stress        the long versions of the stress programs, on both kernels"
	@echo "make bench         each row of bench/ on the module and on native io_uring: a table, CSV, a chart"
	@echo "make check         rustfmt, clippy, warnings as errors, checkpatch, the unsafe inventory"
	@echo "make doc           the module's rustdoc, in build/doc"
	@echo "make rust-analyzer rust-project.json for editors"
	@echo "make stock         the module for Debian's stock kernel    (build/stock)"
	@echo "make test-module   the module for the test kernel          (build/test)"
	@echo "make selftests     the programs of selftests/ and examples (build/selftests)"
	@echo "make tools         ruring and the redirect for unmodified programs (build/tools)"
	@echo "make tools-install the same into PREFIX (default /usr/local) below DESTDIR"
	@echo "make clean         remove what was built here"
	@echo "make distclean     and the cache: toolchain root, kernels, downloads"
	@echo
	@echo "Everything that is missing (a Debian 13 root with the compilers and QEMU, kernels) is made"
	@echo "on the way and cached. run, test, shell and check need root and a Debian-like machine."
	@echo
	@echo "KDIR=FOLDER        a kernel's build tree, with CONFIG_RUST=y"
	@echo "KERNELS='stock test'   the guests of make test; TESTS='name name'   only these programs; with"
	@echo "                   JOBS=4 or more: both guests side by side. NATIVE=1: native io_uring on the test"
	@echo "                   kernel, too, where else the programs run on the module only"
	@echo "MODE=count|time|scale   make bench: instructions, nanoseconds, many requests and rings; HERE=1: on"
	@echo "                   this machine instead of in a guest; ROWS=NOP: rows with that in their name"
	@echo "BREAK=fail|kasan|panic|hang|leak   make test must fail, visibly: a check of the checker"
	@echo "RUST_URING_CACHE=FOLDER (default ~/.cache/rust_uring, about 12 GB), JOBS=N, CPUS=N, MEMORY=MiB"

stock test-module:
	@scripts/build.sh module $(if $(filter stock,$@),stock,test)

selftests:
	@scripts/build.sh programs

tools:
	@scripts/build.sh tools
	$(ok) "build/tools/ruring"

clients:
	@scripts/build.sh clients

PREFIX ?= /usr/local
tools-install: tools
	install -D -t $(DESTDIR)$(PREFIX)/bin build/tools/ruring
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/ruring build/tools/libruring_redirect.so
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include include/rust_uring_calls.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/linux include/uapi/linux/rust_uring.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 Documentation/man/ruring.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man4 Documentation/man/rust_uring.4
	$(ok) "installed below $(DESTDIR)$(PREFIX)"

run: stock selftests tools
	@qemu/disks.sh build/main-job
	@qemu/guest.py --kernel stock --cpus $(CPUS) --timeout 600 --name run \
		--disk build/main-job/source.img --disk build/main-job/target.img -- \
		scripts/run-main-job.sh $(call ko,stock) build/selftests build/tools
	$(ok) "rust_uring loaded into Debian's own kernel, did its requests, and unloaded"

shell: $(if $(filter test,$(KERNEL)),test-module,stock) selftests tools
	@qemu/guest.py --kernel $(KERNEL) --cpus $(CPUS) --timeout 0 --interactive --name shell -- \
		insmod $(call ko,$(KERNEL))

test stress: $(if $(findstring stock,$(or $(KERNELS),stock)),stock) \
		$(if $(findstring test,$(or $(KERNELS),test)),test-module) selftests tools clients
	@$(if $(BREAK),for kernel in $(or $(KERNELS),stock test); do scripts/build.sh broken $$kernel || exit; done)
	@scripts/test.sh $(if $(filter stress,$@),--stress)

bench: stock selftests
	@bench/bench.py --mode $(or $(MODE),count) $(if $(HERE),--here) $(foreach row,$(ROWS),"$(row)")

check:
	@scripts/check.sh

doc: stock
	@scripts/doc.sh
	$(ok) "build/doc/rust_uring/index.html"

rust-analyzer: stock
	@scripts/doc.sh rust-analyzer
	$(ok) "rust-project.json"

clean:
	rm -rf build rust-project.json
	$(ok) "clean; the cache is kept (make distclean)"

distclean: clean
	@qemu/clean-cache.sh
	$(ok) "nothing is left"

.PHONY: all help stock test-module selftests tools tools-install clients run shell test stress bench check doc rust-analyzer clean distclean
# The steps share a cache and a console: the jobs are inside them.
.NOTPARALLEL:
