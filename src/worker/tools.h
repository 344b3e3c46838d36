/* Sub-commands of the worker's own file, each in a process of its own: most are what streams run
 * (OPEN with flag 4), with the stream as their stdin and stdout. A row in tools.c is all that a new
 * one needs.
 */
#ifndef WORKER_TOOLS_H
#define WORKER_TOOLS_H

struct tool {
	const char *name;
	int min, max;      /* number of arguments behind the name */
	const char *usage; /* of those arguments */
	/* argv[0] is the first argument behind the name. The exit status; says why on stderr where
	 * it is not 0. */
	int (*run)(int argc, char **argv);
};
extern const struct tool worker_tools[]; /* a row without name ends it */

int connect_main(int argc, char **argv); /* connect.c: HOST PORT */
int environ_main(int argc, char **argv); /* environ_tool.c: [MARK] */
int place_main(int argc, char **argv);   /* place_tool.c: FOLDER [SHA256 MODE NAME]... */

#endif
