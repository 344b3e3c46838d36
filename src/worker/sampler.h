/* The host's figures for METRIC. The files of /proc stay open while samples are taken. */
#ifndef WORKER_SAMPLER_H
#define WORKER_SAMPLER_H

#include "cube/metric.h"

enum { SAMPLER_FILES = 9 };

struct sampler {
	int fd[SAMPLER_FILES];
};

void sampler_init(struct sampler *s); /* opens nothing yet */
void sampler_done(struct sampler *s); /* closes; may be used again */
/* Fills m but for `running`. What the kernel does not tell stays 0, or CUBE_METRIC_NONE. */
void sampler_take(struct sampler *s, struct cube_metric *m);

#endif
