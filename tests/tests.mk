# Tests, included by the top Makefile. A file tests/unit/<name>_test.c is one libcheck program.
UNIT := $(patsubst tests/unit/%_test.c,%,$(wildcard tests/unit/*_test.c))
TESTLIBS := -lcheck -lsubunit -lm -lrt -lpthread
$(B)/tests/unit/%: tests/unit/%_test.c $(ARCHIVES)
	$(say) TEST $*
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(ARCHIVES) $(LIBS) $(TESTLIBS) -o $@
-include $(wildcard $(B)/tests/unit/*.d)
