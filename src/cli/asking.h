/* What the manager has to ask a person, put on the terminal one by one: "Password for ubuntu
 * (web[1-8]): ". An empty line or Ctrl-D refuses. Runs while cube_client_turn is called. */
#ifndef CUBE_CLI_ASKING_H
#define CUBE_CLI_ASKING_H

#include "cli.h"

enum { CUBE_ASKING_PROMPTS = 8, CUBE_ASKING_ANSWER = 1024 };

struct cube_asking_owner { /* the command that waits for the nodes */
	/* Whether it waits for this one: others' questions are for those who wait for them. Not
	 * NULL. */
	bool (*waits_for)(void *arg, const char *node);
	void (*hide)(void *arg); /* takes what it shows otherwise off the screen; may be NULL */
};

struct cube_asking { /* zero-initialise */
	struct cube_cli *cli;
	int fd;
	bool started, over; /* over: the person does not want to be asked any more */
	bool begun;         /* the terminal waits for a line of ours */
	bool shown;         /* the question stands in its last line */
	size_t above;       /* and in so many above it: it is wider than the terminal */
	json_t *waiting;    /* PROMPTs; the first is the one at hand */
	size_t at;          /* which of its lines */
	size_t used;
	char answers[CUBE_ASKING_PROMPTS][CUBE_ASKING_ANSWER + 2];
	struct cube_client_hook hook;
	struct cube_asking_owner owner;
	void *arg;
};

/* Whether somebody is there who could be asked: the request's field "ask". */
bool cube_asking_possible(void);
/* Nothing is asked where that is not possible. */
void cube_asking_start(struct cube_asking *a, struct cube_cli *cli, struct cube_asking_owner owner,
		       void *arg);
/* From the events; others than questions are ignored. */
void cube_asking_event(struct cube_asking *a, const char *event, const json_t *data);
bool cube_asking_busy(const struct cube_asking *a); /* a question is on the screen, or soon will */
/* Before something else is printed; it comes back by itself. */
void cube_asking_hide(struct cube_asking *a);
void cube_asking_stop(struct cube_asking *a);

#endif
