/* ssh's complaints: always one short, printable error. */
#include "cube/ssh_says.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	struct cube_err err = {0};
	int rc = cube_ssh_says((const char *)bytes, n, &err);

	if (rc != err.code || !*err.msg) abort();
	if (rc != CUBE_EHOSTKEY && rc != CUBE_EAUTH && rc != CUBE_ECONNECT) abort();
	for (const char *p = err.msg; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127) abort();
	if (cube_ssh_says_refused((const char *)bytes, n, &err))
		for (const char *p = err.msg; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 127) abort();
	cube_ssh_says_dropped((const char *)bytes, n);
	cube_ssh_says_no_master((const char *)bytes, n);
	return 0;
}
