/* The programs that live in the one file `cube`. src/main.c picks; none includes the
 * others' headers. All return the process's exit code. */
#ifndef CUBE_PROGRAM_H
#define CUBE_PROGRAM_H

/* Everything but `cube manager`. */
int cube_cli_main(int argc, char **argv);

/* `cube manager [--cluster NAME] [--daemon FD] [--store sqlite|memory] [-v]`: argv[0] is "manager".
 * --daemon: started by a command; one byte is written to FD once the socket accepts, the
 * process detaches, logs to <state>/manager.log, and ends by itself when it has had nothing
 * to do for a while: no node, no task, no client. FD closed without a byte: it could not start and
 * said why on stderr. */
int cube_manager_main(int argc, char **argv);

/* What the ssh program runs to ask for something (SSH_ASKPASS): chosen by the environment variable
 * CUBE_ASKPASS, and of use only to an ssh that a manager started. */
int cube_askpass_main(int argc, char **argv);

#endif
