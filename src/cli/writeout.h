/* Writing to stdout and stderr without being deaf to signals while the reader is slow. */
#ifndef CUBE_CLI_WRITEOUT_H
#define CUBE_CLI_WRITEOUT_H

#include <stddef.h>

#define CUBE_WRITE_GONE   141 /* exit code: nobody reads stdout any more */
#define CUBE_WRITE_FAILED 125 /* exit code: stdout cannot be written; the reason was told */

/* Writes all bytes. While fd takes none and wake_fd (or -1) is readable, woken(arg) is called; not
 * 0 from it ends the writing and comes back. CUBE_WRITE_GONE or _FAILED on a broken stdout; what a
 * broken stderr does not take is dropped. */
int cube_write_out(int fd, const void *bytes, size_t n, int wake_fd, int (*woken)(void *arg),
		   void *arg);
/* The exit code for a write to stdout that failed with errno sys; tells it unless the reader left.
 */
int cube_write_broken(int sys);

#endif
