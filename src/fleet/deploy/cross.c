#include "cross.h"

#include <ctype.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cube/mem.h"
#include "cube/paths.h"

/* uname's name; the compilers' triplet without "-gcc"; that of musl's specs; Debian's package. */
static const struct cross {
	const char *machine, *triplet, *musl, *package;
	uint16_t elf;
} crosses[] = {
	{"x86_64", "x86_64-linux-gnu", "x86_64-linux-musl", "gcc-x86-64-linux-gnu", EM_X86_64},
	{"aarch64", "aarch64-linux-gnu", "aarch64-linux-musl", "gcc-aarch64-linux-gnu", EM_AARCH64},
	{"armv7l", "arm-linux-gnueabihf", "arm-linux-musleabihf", "gcc-arm-linux-gnueabihf",
	 EM_ARM},
	{"armv8l", "arm-linux-gnueabihf", "arm-linux-musleabihf", "gcc-arm-linux-gnueabihf",
	 EM_ARM},
	{"armv6l", "arm-linux-gnueabi", "arm-linux-musleabi", "gcc-arm-linux-gnueabi", EM_ARM},
	{"armv5tel", "arm-linux-gnueabi", "arm-linux-musleabi", "gcc-arm-linux-gnueabi", EM_ARM},
	{"riscv64", "riscv64-linux-gnu", "riscv64-linux-musl", "gcc-riscv64-linux-gnu", EM_RISCV},
	{"ppc64le", "powerpc64le-linux-gnu", "powerpc64le-linux-musl", "gcc-powerpc64le-linux-gnu",
	 EM_PPC64},
	{"s390x", "s390x-linux-gnu", "s390x-linux-musl", "gcc-s390x-linux-gnu", EM_S390},
	{"i686", "i686-linux-gnu", "i386-linux-musl", "gcc-i686-linux-gnu", EM_386},
	{"i586", "i686-linux-gnu", "i386-linux-musl", "gcc-i686-linux-gnu", EM_386},
	{"i386", "i686-linux-gnu", "i386-linux-musl", "gcc-i686-linux-gnu", EM_386},
};

static const struct cross *find(const char *machine) {
	for (size_t i = 0; i < sizeof crosses / sizeof crosses[0]; i++)
		if (!strcmp(crosses[i].machine, machine)) return &crosses[i];
	return NULL;
}

bool cube_cross_machine_ok(const char *machine) {
	size_t n = strlen(machine);
	if (!n || n > 32 || *machine == '-' || *machine == '.') return false;
	for (; *machine; machine++)
		if (!isalnum((unsigned char)*machine) && !strchr("_-.", *machine)) return false;
	return true;
}

static bool in_path(const char *program) {
	cube_autofree char *path = cube_paths_program(program);
	return path != NULL;
}

/* CUBE_CC_ARMV7L */
static char *variable(const char *machine) {
	char *name = cube_strf("CUBE_CC_%s", machine);
	for (char *p = name; *p; p++)
		*p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
	return name;
}

/* <triplet>-gcc of musl, or of the C library with musl's specs beside it, or alone. */
static char *look_for(const char *gnu, const char *musl) {
	cube_autofree char *musl_gcc = cube_strf("%s-gcc", musl);
	cube_autofree char *gnu_gcc = cube_strf("%s-gcc", gnu);
	cube_autofree char *specs = cube_strf("/usr/lib/%s/musl-gcc.specs", musl);
	if (in_path(musl_gcc)) return cube_strdup(musl_gcc);
	if (!in_path(gnu_gcc)) return NULL;
	return access(specs, R_OK) == 0 ? cube_strf("%s -specs=%s", gnu_gcc, specs)
					: cube_strdup(gnu_gcc);
}

int cube_cross_compiler(const char *machine, char **ret, struct cube_err *err) {
	const struct cross *cross = find(machine);
	cube_autofree char *name = variable(machine);
	const char *given = getenv(name);
	if (given && *given) {
		*ret = cube_strdup(given);
		return 0;
	}
	cube_autofree char *gnu = cross ? NULL : cube_strf("%s-linux-gnu", machine);
	cube_autofree char *musl = cross ? NULL : cube_strf("%s-linux-musl", machine);
	char *command = look_for(cross ? cross->triplet : gnu, cross ? cross->musl : musl);
	if (!command && cross)
		return cube_fail(
			err, CUBE_ENOTFOUND,
			"no compiler for it here: install %s (apt-get install %s), or set %s",
			cross->package, cross->package, name);
	if (!command)
		return cube_fail(
			err, CUBE_ENOTFOUND,
			"no compiler for it here: install one called %s-gcc or %s-gcc, or set %s",
			gnu, musl, name);
	*ret = command;
	return 0;
}

/* ---- what was made ------------------------------------------------------------------------ */

/* Both classes of ELF have these at the same place; big-endian files have the bytes swapped. */
static unsigned half(const uint8_t *image, size_t at) {
	bool big = image[EI_DATA] == ELFDATA2MSB;
	return big ? image[at] << 8 | image[at + 1] : image[at + 1] << 8 | image[at];
}

static uint64_t word(const uint8_t *image, size_t at, size_t n) {
	bool big = image[EI_DATA] == ELFDATA2MSB;
	uint64_t v = 0;
	for (size_t i = 0; i < n; i++) v = v << 8 | image[at + (big ? i : n - 1 - i)];
	return v;
}

static bool has_interpreter(const uint8_t *image, size_t size) {
	bool wide = image[EI_CLASS] == ELFCLASS64;
	uint64_t at = wide ? word(image, offsetof(Elf64_Ehdr, e_phoff), 8)
			   : word(image, offsetof(Elf32_Ehdr, e_phoff), 4);
	unsigned each = half(image, wide ? offsetof(Elf64_Ehdr, e_phentsize)
					 : offsetof(Elf32_Ehdr, e_phentsize));
	unsigned n =
		half(image, wide ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum));
	for (unsigned i = 0; i < n; i++) {
		if (at > size || size - at < 4 || each < 4) return true; /* not a sound file */
		if (word(image, at, 4) == PT_INTERP) return true;
		at += each;
	}
	return false;
}

static bool is_ours(unsigned elf) {
	struct utsname u;
	const struct cross *here = uname(&u) == 0 ? find(u.machine) : NULL;
	return here && here->elf == elf;
}

int cube_cross_check(const char *machine, const uint8_t *image, size_t size, struct cube_err *err) {
	const struct cross *cross = find(machine);
	if (size < sizeof(Elf64_Ehdr) || memcmp(image, ELFMAG, SELFMAG) != 0)
		return cube_fail(err, CUBE_EEXEC, "what the compiler made is no ELF program");
	unsigned elf = half(image, offsetof(Elf32_Ehdr, e_machine));
	if (cross ? elf != cross->elf : is_ours(elf))
		return cube_fail(
			err, CUBE_EEXEC,
			"the compiler makes programs for another architecture (ELF machine %u)",
			elf);
	if (has_interpreter(image, size))
		return cube_fail(err, CUBE_EEXEC, "what the compiler made is not a static program");
	return 0;
}
