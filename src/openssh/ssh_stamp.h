/* What an answer of `ssh -G` depends on besides the question: the configuration files with all they
 * include, the program, the user, the machine's name, the environment that is named there. Private
 * to this folder. */
#ifndef CUBE_TRANSPORT_SSH_STAMP_H
#define CUBE_TRANSPORT_SSH_STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct cube_ssh_stamp {
	uint8_t id[16]; /* equal ones: the same answers */
	/* False where more decides than was looked at: Match exec, Match localnetwork, canonical
	 * names by DNS, Include with tokens, files too large or too many. */
	bool lasting;
	/* Settings the files name that are not in ssh_keywords.h, in small letters, a blank around
	 * each: as many as there is room for. */
	char unknown[256];
};

/* file: of ssh -F ("none" is its word for no file), NULL for the usual ones. format: of the answers
 * kept, whose change makes them others. Reads the files, at most 8 MiB of them. */
void cube_ssh_stamp_take(const char *file, const char *format, struct cube_ssh_stamp *ret);

#endif
