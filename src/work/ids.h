/* Numbers of jobs and tasks: none is given twice, whatever becomes of the database.
 *
 * The file `ids` beside the database says how far numbers may have been given. It lies on the disk
 * (synced, then renamed into its place) before a number above that is given, and is not taken back
 * when a power cut or a copy that was put back takes the database back. Numbers are reserved in
 * ranges, so that most cost no sync: at least 64, more while many are asked for. A clean end gives
 * the rest of the range back; after a kill it is left out.
 */
#ifndef CUBE_IDS_H
#define CUBE_IDS_H

#include <stdint.h>

#include "cube/err.h"

struct cube_ids;

/* folder: where the file is, or NULL: nothing is kept. last_job and last_task: the highest in the
 * database; numbers go on above them and above the file's. A file of another cluster does not
 * count; one that makes no sense is logged, and does not either. CUBE_ESYS. */
int cube_ids_open(const char *folder, uint64_t cluster, uint64_t last_job, uint64_t last_task,
		  struct cube_ids **ret, struct cube_err *err);
/* Gives the rest of the range back. NULL is fine. */
void cube_ids_close(struct cube_ids *ids);

/* A job and count tasks in a row. CUBE_ESYS when the disk refuses: then nothing was given. */
int cube_ids_take(struct cube_ids *ids, uint32_t count, uint64_t *ret_job, uint64_t *ret_first,
		  struct cube_err *err);
/* A task of this number is known elsewhere: those to come are above it. Only when it is within 2^24
 * of the last one that was given or kept: whoever says it may lie, and again. */
void cube_ids_above(struct cube_ids *ids, uint64_t task);

#endif
