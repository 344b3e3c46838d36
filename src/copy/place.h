/* Where a copy goes, as cp decides it. */
#ifndef COPY_PLACE_H
#define COPY_PLACE_H

#include <stdbool.h>

#define PLACE_PATH 4096

struct place {
	int dir;               /* the entries go into it */
	char name[256];        /* the one entry is to be called that; "" keeps its own name */
	char path[PLACE_PATH]; /* of dir, as people know it; "" where it need not be told */
};

/* dest: not ""; several: it has to be a folder; make: even if that has to be made; is_dir: the
 * first entry is a folder. A message, or NULL; errno is 0 where that does not come from the system.
 */
const char *place_find(struct place *p, const char *dest, bool several, bool make, bool is_dir);

#endif
