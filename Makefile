# cube: `make` builds build/cube with the workers inside, `make test` runs everything,
# `make bench` prints the table of ratios. V=1 shows commands, SANITIZE=1 builds with
# ASan+UBSan into build/san, WERROR=1 turns warnings into errors (so does `make test` with gcc 12).

VERSION := 0.1.0
B       := build$(if $(SANITIZE),/san)
# What was built, where git knows it: no times, so that the same sources make the same files.
# A package built from a tarball says it itself: make COMMIT=...
COMMIT  ?= $(if $(wildcard .git),$(shell git describe --always --dirty --abbrev=12 2>/dev/null))
Q       := $(if $(V),,@)
say      = $(if $(V),@:,@printf '  %-6s %s\n')

CC      ?= cc
CSTD    := -std=gnu17 -D_GNU_SOURCE -Iinclude
WARN    := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
           -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wno-unused-parameter \
           -Wno-missing-field-initializers -Wno-format-truncation -Wno-unknown-warning-option $(if $(WERROR),-Werror)
comma   := ,
OPT     := $(if $(SANITIZE),-O1 -g -fsanitize=address$(comma)undefined -fno-sanitize-recover=all \
           -fno-omit-frame-pointer,-O2 -g) $(FUZZFLAGS)
CFLAGS  += $(CSTD) $(WARN) $(OPT) -fstack-protector-strong -ffile-prefix-map=$(CURDIR)=. -DCUBE_VERSION='"$(VERSION)"'
LIBS    := -lssh2 -lcrypto -lcurl -ljansson -lsqlite3 -lmicrohttpd -lm

# A layer is a folder of src/ and an archive, from the ground up. The worker's link line below, five
# archives and libc, is the proof that nothing else reaches the hosts.
LAYERS   := base proto copy model io images openssh transport store turn deploy fleet work api manager cli
WLAYERS  := model copy proto io base
folder    = $(if $(filter deploy,$(1)),fleet/deploy,$(1))
layer_o   = $(patsubst src/%.c,$(2)/%.o,$(wildcard src/$(folder)/*.c))
ARCHIVES := $(foreach l,cli manager api work fleet deploy turn store transport openssh images model copy proto io base,$(B)/lib/libcube-$(l).a)

all: $(B)/cube

# ---- the worker: static, musl, one per architecture -------------------------------------
# An architecture has a compiler command; deploy/README.md says how to add one.
# CUBE_NO_FLOAT: it prints no fractions, so libc's printf stays out of it (cube/format.h).
# 64 bits for sizes, inodes and times also with a 32-bit glibc, whose readdir fails without.
WCSTD   := -std=gnu17 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -DCUBE_NO_FLOAT -Iinclude
WOPT    := -Os -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables \
           -fno-unwind-tables -fno-stack-protector -fno-pie -fmerge-all-constants -fomit-frame-pointer -fno-jump-tables
WLD     := -static -no-pie -Wl,--gc-sections -Wl,-z,noseparate-code -Wl,-z,norelro -Wl,-z,common-page-size=64 \
           -Wl,--build-id=none -s
WARCHES ?= x86_64 aarch64
NATIVE  := $(shell uname -m)
wcc      = $(if $(filter $(NATIVE),$(1)),musl-gcc,$(or $(shell deploy/musl-cc $(1)),$(1)-linux-gnu-gcc))
$(foreach a,$(WARCHES),$(eval WCC_$(a) ?= $(call wcc,$(a))))

define worker_rules
WOBJ_$(1) := $$(foreach l,$$(WLAYERS) worker,$$(call layer_o,$$(l),$$(B)/worker/$(1)))
$$(B)/worker/$(1)/%.o: src/%.c Makefile
	$$(say) WCC '$(1) $$<'
	@mkdir -p $$(@D)
	$$(Q)$$(WCC_$(1)) $$(WCSTD) $$(WARN) $$(WFLAGS_$(1)) -DCUBE_VERSION='"$$(VERSION)"' -MMD -MP -c $$< -o $$@
$$(foreach l,$$(WLAYERS),$$(eval $$(B)/worker/$(1)/libcube-$$(l).a: $$(call layer_o,$$(l),$$(B)/worker/$(1))))
$$(B)/worker/$(1)/libcube-%.a:
	$$(Q)rm -f $$@ && ar rcsD $$@ $$^
$$(B)/worker/$(1)/cube-worker: $$(call layer_o,worker,$$(B)/worker/$(1)) \
                            $$(WLAYERS:%=$$(B)/worker/$(1)/libcube-%.a)
	$$(say) WLD $$@
	$$(Q)$$(WCC_$(1)) $$(WLDFLAGS_$(1)) $$^ -o $$@
-include $$(WOBJ_$(1):.o=.d)
endef
ifdef SANITIZE
# Sanitizers need the dynamic C library, so this worker runs on the machine that built it.
WARCHES   := $(shell uname -m)
$(foreach a,$(WARCHES),$(eval WCC_$(a) := $(CC)))
$(foreach a,$(WARCHES),$(eval WFLAGS_$(a) := $(OPT)))
$(foreach a,$(WARCHES),$(eval WLDFLAGS_$(a) := $(OPT)))
else
$(foreach a,$(WARCHES),$(eval WFLAGS_$(a) := $(WOPT)))
$(foreach a,$(WARCHES),$(eval WLDFLAGS_$(a) := $(WLD)))
endif
$(foreach a,$(WARCHES),$(eval $(call worker_rules,$(a))))
WORKERS := $(WARCHES:%=$(B)/worker/%/cube-worker)
workers: $(WORKERS)
# Its sources go into cube as well: workers for other architectures are built from them at need,
# with these flags.
WSOURCES := $(sort $(wildcard $(foreach l,$(WLAYERS) worker,src/$(l)/*.[ch]) include/cube/*.h))
$(B)/worker/sources: $(WSOURCES) Makefile
	@mkdir -p $(@D)
	$(Q)for f in $(WSOURCES); do echo "F $$f $$(wc -c <$$f)"; cat $$f; done >$@
$(B)/fleet/deploy/builds.o: CFLAGS += -DCUBE_WORKER_FLAGS='"$(WCSTD) $(WOPT) $(WLD)"'

# `cube version` is compiled again when the commit is another one.
$(B)/commit: FORCE
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' >$@
$(B)/cli/cmd_version.o: $(B)/commit
$(B)/cli/cmd_version.o: CFLAGS += -DCUBE_COMMIT='"$(COMMIT)"'

# ---- cube: manager and CLI in one file, the workers embedded ----------------------------
$(B)/%.o: src/%.c Makefile
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@
$(B)/images/embedded.o: src/images/embedded.S $(WORKERS) $(B)/worker/sources Makefile
	$(say) AS $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(foreach a,$(WARCHES),-DCUBE_WORKER_$(a)=$$(sha256sum <$(B)/worker/$(a)/cube-worker | cut -c1-64)) -Wa,-I$(B)/worker -c $< -o $@
$(foreach l,$(LAYERS),$(eval $(B)/lib/libcube-$(l).a: $(call layer_o,$(l),$(B))))
$(B)/lib/libcube-images.a: $(B)/images/embedded.o
$(B)/lib/libcube-%.a:
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcsD $@ $^
$(B)/cube: $(B)/main.o $(ARCHIVES)
	$(say) LD $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LIBS) -o $@
-include $(foreach l,$(LAYERS),$(patsubst %.o,%.d,$(call layer_o,$(l),$(B)))) $(B)/main.d

# ---- tests --------------------------------------------------------------------------------
include tests/tests.mk

$(B)/cube.1: $(B)/cube
	$(say) MAN $@
	$(Q)$(B)/cube help --man >$@.new && mv $@.new $@
man: $(B)/cube.1

PREFIX ?= /usr/local
SHARE   = $(DESTDIR)$(PREFIX)/share
install: $(B)/cube $(B)/cube.1
	install -Dm755 $(B)/cube $(DESTDIR)$(PREFIX)/bin/cube
	install -Dm644 $(B)/cube.1 $(SHARE)/man/man1/cube.1
	install -Dm644 deploy/completions/cube.bash $(SHARE)/bash-completion/completions/cube
	install -Dm644 deploy/completions/_cube $(SHARE)/zsh/site-functions/_cube
	install -Dm644 deploy/completions/cube.fish $(SHARE)/fish/vendor_completions.d/cube.fish
	install -d $(SHARE)/systemd/user
	sed 's|^ExecStart=cube |ExecStart=$(PREFIX)/bin/cube |' deploy/cube-manager.service >$(SHARE)/systemd/user/cube-manager.service
clean:
	rm -rf build

# Two builds of the same sources, in two folders, have to be the same to the byte.
reproduce:
	@set -e; rm -rf build/reproduce; mkdir -p build/reproduce/one build/reproduce/two; \
	cp -R Makefile src include deploy tests build/reproduce/one; cp -R build/reproduce/one/. build/reproduce/two; \
	for d in one two; do \
		$(MAKE) --no-print-directory -C build/reproduce/$$d COMMIT='$(COMMIT)' build/cube >/dev/null; done; \
	cmp build/reproduce/one/build/cube build/reproduce/two/build/cube && echo 'the same: build/cube' && rm -rf build/reproduce
FORCE:
.PHONY: all workers man install clean reproduce FORCE
.SECONDARY:
