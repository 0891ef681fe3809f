# SPDX-License-Identifier: GPL-2.0
# Builds the programs of selftests/, examples/ and bench/; run by scripts/build.sh in the toolchain root.
# SOURCE: the kernel's source, HEADERS: its installed UAPI headers, OUT: where to.

# The harness compares whatever it is given, mostly with plain literals, and passes every test its metadata.
CFLAGS := -O2 -g -std=gnu11 -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-parameter -static -pthread \
	-Iinclude -Iinclude/uapi -isystem $(HEADERS)/include -I$(SOURCE)/tools/testing/selftests

programs := $(patsubst %.c,$(OUT)/%,$(notdir $(wildcard selftests/*.c examples/*.c)))
headers := $(wildcard selftests/*.h examples/*.h bench/*.h include/*.h include/uapi/linux/*.h)

# Programs that know nothing of the device, for the redirect: as they would be linked.
clients := $(OUT)/clients/redirect $(OUT)/clients/redirect-static $(OUT)/clients/liburing $(OUT)/clients/cost

all: $(programs) $(OUT)/bench $(clients)

$(OUT)/%: selftests/%.c $(headers) scripts/selftests.mk
	@echo "  CC      $@"
	@gcc $(CFLAGS) -o $@ $<

$(OUT)/%: examples/%.c $(headers) scripts/selftests.mk
	@echo "  CC      $@"
	@gcc $(CFLAGS) -o $@ $<

$(OUT)/bench: bench/bench.c bench/rows.c $(headers) scripts/selftests.mk
	@echo "  CC      $@"
	@gcc $(CFLAGS) -o $@ bench/bench.c bench/rows.c

$(OUT)/clients/%-static: selftests/clients/%.c scripts/selftests.mk
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@gcc $(CFLAGS) -o $@ $<

$(OUT)/clients/%: selftests/clients/%.c scripts/selftests.mk
	@mkdir -p $(@D)
	@echo "  CC      $@"
	@gcc $(filter-out -static -isystem $(HEADERS)/include,$(CFLAGS)) $(if $(filter-out liburing,$*),-isystem $(HEADERS)/include) \
		-o $@ $< $(if $(filter liburing,$*),-luring)

.PHONY: all
.DELETE_ON_ERROR:
