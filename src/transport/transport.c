/* What all transports share: the names of the steps. */
#include "cube/transport.h"

static const char *const STEP_NAMES[] = {
	[CUBE_STEP_CONFIG] = "reading the ssh configuration",
	[CUBE_STEP_RESOLVE] = "resolving",
	[CUBE_STEP_CONNECT] = "connecting",
	[CUBE_STEP_KEX] = "exchanging keys",
	[CUBE_STEP_AUTH] = "authenticating",
	[CUBE_STEP_OPEN] = "open",
};
_Static_assert(sizeof STEP_NAMES / sizeof STEP_NAMES[0] == CUBE_STEP_OPEN + 1, "one name a step");

const char *cube_transport_step_name(enum cube_transport_step step) {
	size_t i = (size_t)step;
	return i < sizeof STEP_NAMES / sizeof STEP_NAMES[0] ? STEP_NAMES[i] : "unknown step";
}
