/* What every line that cube has a login shell run begins with; shell text without single quotes,
 * for use inside exec /bin/sh -c '...'. */
#ifndef CUBE_BOOTSTRAP_H
#define CUBE_BOOTSTRAP_H

/* Positional parameters: the folders a worker may live in, in order of preference (some may be
 * empty or no absolute path). o says whether $d is a real folder that belongs to us, not a link: in
 * /tmp anybody may have put something at that path, but nobody can replace what is ours there. A
 * link that dies must not kill the shell before it has cleaned up: writing to it just fails. A home
 * that is missing is not made, even where root could: it would stay. */
#define BOOTSTRAP_FOLDERS                                                                          \
	"trap \"\" PIPE; u=${LOGNAME:-$USER}; "                                                    \
	"h=; [ \"$HOME\" ] && [ -d \"$HOME\" ] && h=$HOME/.cache/cube; "                           \
	"set -- \"$CUBE_DIR\" \"$h\" "                                                             \
	"\"${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/cube}\" \"/var/tmp/cube-$u\" \"/dev/shm/cube-$u\" " \
	"\"/tmp/cube-$u\"; o() { [ -O \"$d\" ] && [ ! -L \"$d\" ]; }; "

#endif
