#include "notes.h"

#include "cli.h"
#include "cube/clock.h"
#include "select.h"

static const uint64_t GATHER_NS = 250 * CUBE_NS_PER_MS;

void cube_notes_add(struct cube_notes *n, const char *node, const char *text) {
	if (!n->said) n->said = json_object();
	json_t *names = json_object_get(n->said, text);
	if (!names) {
		names = json_object();
		json_object_set_new(n->said, text, names);
	}
	if (json_object_get(names, node)) return;
	json_object_set_new(names, node, json_true());
	if (!n->waiting) {
		n->waiting = json_object();
		n->since = cube_clock_mono();
	}
	cube_reasons_add(n->waiting, text, node);
}

bool cube_notes_due(const struct cube_notes *n, bool now) {
	return n->waiting && (now || cube_clock_mono() - n->since >= GATHER_NS);
}

void cube_notes_print(struct cube_notes *n) {
	cube_reasons_print(n->waiting, "");
	json_decref(n->waiting);
	n->waiting = NULL;
}

void cube_notes_done(struct cube_notes *n) {
	json_decref(n->waiting);
	json_decref(n->said);
	*n = (struct cube_notes){0};
}
