# Tests, included by the top Makefile; tests/README.md tells what each suite is.
# A file tests/unit/<name>_test.c is one libcheck program, tests/fuzz/<name>_fuzz.c one fuzz target
# with its corpus in tests/fuzz/corpus/<name>/.
UNIT     := $(patsubst tests/unit/%_test.c,%,$(wildcard tests/unit/*_test.c))
FUZZERS  := $(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c))
TESTLIBS := -lcheck -lsubunit -lm -lrt -lpthread
TESTINC  := -Itests/unit $(foreach l,$(LAYERS),-Isrc/$(call folder,$(l)))

$(B)/tests/unit/%: tests/unit/%_test.c $(ARCHIVES)
	$(say) TEST $*
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TESTINC) -MMD -MP -MF $@.d $< $(ARCHIVES) $(LIBS) $(TESTLIBS) -o $@
# A corpus is a plain test: the target is linked with a main that feeds it files.
$(B)/tests/fuzz/%: tests/fuzz/%_fuzz.c tests/fuzz/replay_main.c $(ARCHIVES)
	$(say) TEST 'fuzz corpus $*'
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TESTINC) -MMD -MP -MF $@.d $< tests/fuzz/replay_main.c $(ARCHIVES) $(LIBS) -o $@
$(B)/tests/bench/%: tests/bench/%.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $< $(ARCHIVES) $(LIBS) -o $@
-include $(wildcard $(B)/tests/unit/*.d $(B)/tests/fuzz/*.d)

# What the suites need, in both builds; tests/all runs them.
tests-built: $(B)/cube $(UNIT:%=$(B)/tests/unit/%) $(FUZZERS:%=$(B)/tests/fuzz/%)
test:
	$(Q)tests/all
lint: $(B)/cube
	$(Q)tests/lint/lint.sh
unit: tests-built
	$(Q)tests/unit/run $(B)
e2e: $(B)/cube
	$(Q)tests/e2e/run --on local --cube $(B)/cube
ssh: $(B)/cube
	$(Q)tests/e2e/run --on openssh,dropbear,vm --cube $(B)/cube
bench: $(B)/cube $(patsubst tests/bench/%.c,$(B)/tests/bench/%,$(wildcard tests/bench/*.c))
	$(Q)tests/bench/bench.sh

# make fuzz FUZZ=msg [FUZZTIME=60]: libFuzzer from clang; what it finds stays in build/fuzz/.
FUZZTIME ?= 60
FUZZCC   ?= $(or $(shell command -v clang || command -v clang-14),clang)
fuzz:
	$(if $(FUZZ),,$(error say which: make fuzz FUZZ=<one of $(FUZZERS)>))
	@mkdir -p build/fuzz/$(FUZZ)
	$(Q)$(MAKE) --no-print-directory SANITIZE=1 CC=$(FUZZCC) B=build/fuzz/objects FUZZFLAGS=-fsanitize=fuzzer-no-link build/fuzz/objects/run/$(FUZZ)
	$(Q)build/fuzz/objects/run/$(FUZZ) -max_total_time=$(FUZZTIME) -max_len=65536 build/fuzz/$(FUZZ) tests/fuzz/corpus/$(FUZZ)
$(B)/run/%: tests/fuzz/%_fuzz.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(TESTINC) $< $(ARCHIVES) $(LIBS) -o $@

.PHONY: tests-built test lint unit e2e ssh bench fuzz
