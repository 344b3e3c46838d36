/* The entry of `cube`: the manager and the command line share one file. */
#include <stdlib.h>
#include <string.h>

#include "cube/program.h"

int main(int argc, char **argv) {
	if (getenv("CUBE_ASKPASS")) return cube_askpass_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "manager") == 0)
		return cube_manager_main(argc - 1, argv + 1);
	return cube_cli_main(argc, argv);
}
