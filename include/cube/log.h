/* Log lines of a program's own doings, on stderr: "2026-11-22T07:54:39.123Z info  text\n".
 *
 * Only tops log (main functions, the manager's and the worker's session code); library code
 * returns errors. Control bytes and invalid UTF-8 in the text are escaped, since parts of it
 * come from peers. One write(2) a line.
 */
#ifndef CUBE_LOG_H
#define CUBE_LOG_H

enum cube_log_level { CUBE_LOG_ERROR, CUBE_LOG_WARN, CUBE_LOG_INFO, CUBE_LOG_DEBUG };

void cube_log_set_level(enum cube_log_level level); /* default CUBE_LOG_WARN */
void cube_log(enum cube_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define cube_error(...) cube_log(CUBE_LOG_ERROR, __VA_ARGS__)
#define cube_warn(...)  cube_log(CUBE_LOG_WARN, __VA_ARGS__)
#define cube_info(...)  cube_log(CUBE_LOG_INFO, __VA_ARGS__)
#define cube_debug(...) cube_log(CUBE_LOG_DEBUG, __VA_ARGS__)

#endif
