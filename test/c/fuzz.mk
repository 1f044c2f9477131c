# SPDX-License-Identifier: Apache-2.0
# Builds every *_fuzz.c, a program of libFuzzer each, with the core under sanitizers; and, for coverage, the tests and
# the fuzzers once more without them. Needs clang, and no Erlang. See docs/TESTING.md.

ROOT := ../..
BUILD := $(ROOT)/_build/fuzz
COVER := $(BUILD)/cover
CERTS := $(ROOT)/_build/c/certs
SOURCES := $(wildcard *_fuzz.c)
NAMES := $(SOURCES:%_fuzz.c=%)
CORE := $(notdir $(wildcard $(ROOT)/c_src/gr_*.c))
LINKED := $(CORE) $(notdir $(wildcard *_support.c))
# Of the core: that of the glue needs Erlang, and reaches no line of the core that others do not.
TEST_SOURCES := $(filter-out glue_threads_test.c,$(wildcard *_test.c))

# One of NAMES; all of them if it is empty.
FUZZ ?=
CHOSEN := $(or $(FUZZ),$(NAMES))
SECONDS ?= 60

CLANG ?= clang
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
# The core and the fuzzers are what inputs are to reach more of; what supports them is not.
INPUTS := -fsanitize=fuzzer-no-link
COVERAGE := -fprofile-instr-generate -fcoverage-mapping
CFLAGS := -std=c11 -D_GNU_SOURCE -O2 -g -fno-omit-frame-pointer -I$(ROOT)/c_src -I. \
	-DTEST_CERTS='"$(abspath $(CERTS))"' \
	-Wall -Wextra -Wshadow -Wstrict-prototypes $(if $(filter 1,$(WERROR)),-Werror)
LIBS := -lcmocka -lmbedtls -lmbedx509 -lmbedcrypto -lz

run: build
	@./fuzz run $(BUILD) $(SECONDS) $(CHOSEN)

test: build
	@./fuzz test $(BUILD) $(SECONDS) $(CHOSEN)

merge: build $(BUILD)/fuzz_seeds
	@./fuzz merge $(BUILD) $(CHOSEN)

coverage: $(NAMES:%=$(COVER)/%_fuzz) $(TEST_SOURCES:%.c=$(COVER)/%) certs
	@./coverage $(COVER) $(TEST_SOURCES:%.c=%) -- $(NAMES)

build: $(CHOSEN:%=$(BUILD)/%_fuzz) certs

certs:
	@$(MAKE) -f Makefile certs

$(BUILD)/%_fuzz: $(BUILD)/%_fuzz.o $(LINKED:%.c=$(BUILD)/%.o)
	$(CLANG) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

$(BUILD)/fuzz_seeds: $(BUILD)/fuzz_seeds.o $(LINKED:%.c=$(BUILD)/%.o)
	$(CLANG) -fsanitize=address,undefined -o $@ $^ $(LIBS)

$(BUILD)/%_support.o: %_support.c fuzz.mk | $(BUILD)
	$(CLANG) $(CFLAGS) $(SANITIZE) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: %.c fuzz.mk | $(BUILD)
	$(CLANG) $(CFLAGS) $(SANITIZE) $(INPUTS) -MMD -MP -c -o $@ $<

$(BUILD)/%.o: $(ROOT)/c_src/%.c fuzz.mk | $(BUILD)
	$(CLANG) $(CFLAGS) $(SANITIZE) $(INPUTS) -MMD -MP -c -o $@ $<

$(COVER)/%_fuzz: $(COVER)/%_fuzz.o $(LINKED:%.c=$(COVER)/%.o)
	$(CLANG) -fsanitize=fuzzer $(COVERAGE) -o $@ $^ $(LIBS)

$(COVER)/%_test: $(COVER)/%_test.o $(LINKED:%.c=$(COVER)/%.o)
	$(CLANG) $(COVERAGE) -o $@ $^ $(LIBS)

# Only the core is measured.
$(COVER)/%.o: %.c fuzz.mk | $(COVER)
	$(CLANG) $(CFLAGS) -MMD -MP -c -o $@ $<

$(COVER)/%.o: $(ROOT)/c_src/%.c fuzz.mk | $(COVER)
	$(CLANG) $(CFLAGS) $(COVERAGE) -MMD -MP -c -o $@ $<

$(BUILD) $(COVER):
	mkdir -p $@

clean:
	rm -rf $(BUILD)

-include $(wildcard $(BUILD)/*.d $(COVER)/*.d)

.PHONY: run test merge coverage build certs clean
.SECONDARY:
