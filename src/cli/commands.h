/* The commands, one file each: cmd_<name>.c, and the table of them (commands.c). The table is for
 * main.c: a command has it in its struct cube_cli. */
#ifndef CUBE_CLI_COMMANDS_H
#define CUBE_CLI_COMMANDS_H

#include "cli.h"

extern const struct cube_command cube_cmd_spawn, cube_cmd_run, cube_cmd_ps, cube_cmd_nodes,
	cube_cmd_logs, cube_cmd_stop, cube_cmd_wait, cube_cmd_top, cube_cmd_inspect,
	cube_cmd_events, cube_cmd_down, cube_cmd_info, cube_cmd_manager, cube_cmd_worker,
	cube_cmd_login, cube_cmd_version, cube_cmd_help, cube_cmd_doctor, cube_cmd_exec,
	cube_cmd_cp, cube_cmd_forward, cube_cmd_env, cube_cmd_complete;

extern const struct cube_command *const cube_commands[]; /* all of them; NULL ends it */

#endif
