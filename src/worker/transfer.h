/* `cube-worker put` and `cube-worker get`: one end of a copy (cube/copy.h), on stdin and stdout.
 * The words that follow are paths: relative ones, and ~, are below HOME. */
#ifndef WORKER_TRANSFER_H
#define WORKER_TRANSFER_H

/* put [-d] [-m] DEST: receives. -d: DEST has to be a folder, -m: make it. n words. The exit code:
 * 0, or 1 where the copy was cut off; what went wrong with files is told over the stream. */
int put_main(int n, char **words);
/* get [-a] PATH...: sends. -a: goes on after a cut. */
int get_main(int n, char **words);

#endif
