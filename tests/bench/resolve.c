/* resolve CACHE CONFIG COUNT: the settings of hosts n1.. nCOUNT as the manager asks for them, all
 * at once; prints how many came. */
#include <stdio.h>
#include <stdlib.h>

#include "cube/ssh_config.h"

struct state {
	struct cube_loop *loop;
	int wanted, good, bad;
};

static void on_answer(void *arg, const struct cube_ssh_config *config, const struct cube_err *err) {
	struct state *s = arg;
	if (config && config->port == 22) s->good++;
	else s->bad++;
	if (s->good + s->bad == s->wanted) cube_loop_stop(s->loop);
}

int main(int argc, char **argv) {
	struct state s = {.wanted = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0};
	struct cube_ssh_configs *configs;
	struct cube_err err;
	char name[32];
	if (s.wanted < 1) return fprintf(stderr, "resolve CACHE CONFIG COUNT\n"), 2;
	if (cube_loop_new(&s.loop, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
	cube_ssh_configs_new(s.loop, argv[1], &configs);
	for (int i = 1; i <= s.wanted; i++) {
		snprintf(name, sizeof name, "n%d", i);
		struct cube_ssh_question q = {.host = name, .file = argv[2]};
		cube_ssh_configs_ask(configs, &q, on_answer, &s);
	}
	int rc = cube_loop_run(s.loop, &err);
	cube_ssh_configs_free(configs);
	cube_loop_free(s.loop);
	printf("%d\n", s.good);
	return rc || s.bad ? 1 : 0;
}
