/* The shell text of deploy.c's lines: what deploy.c says of PROBE, ATTACH and CLEAN. No single
 * quotes, as in bootstrap.h, and `!` only ahead of a blank or `=`: csh's history takes the others;
 * the values that its formats want are compose()'s. */
#ifndef CUBE_DEPLOY_LINES_H
#define CUBE_DEPLOY_LINES_H

#include "bootstrap.h"

#define MACHINE "uname -m 2>/dev/null || cat /proc/sys/kernel/arch"
/* First of all where its daemon is, or was: there may be cached workers in several folders. */
#define RUN_CACHED                                                                                 \
	"%sfor r in /run/%s.%u \"\"; do i=0; for d; do i=$((i+1)); w=$d/bin/$h; [ $i -gt %u ] && " \
	"[ \"$h\" ] && o && [ -d \"$d$r\" ] && [ -x \"$w\" ] && [ -O \"$w\" ] && "                 \
	"exec \"$w\" attach $h %s %s %u $i; done; done; "

/* An empty executable file is a valid shell script wherever executing is allowed at all. Not ":"
 * but "true" makes it: a redirection that fails ends the shell with a special builtin. Where no
 * byte came after it (-s), it would still "run". The umask is for this phase only: the worker, and
 * so each task, gets the user's.
 *
 * A folder that let an empty file be run may still have no room: the manager then asks again for
 * one after it (skip). What was wrong with each is collected in y. */
#define RECEIVE                                                                                                          \
	"umask 077; LC_ALL=C; export LC_ALL; m=$(uname -sm 2>/dev/null || { echo Linux; cat /proc/sys/kernel/arch; }); " \
	"exec 3>&1; c() { rm -f \"$t\"; rmdir \"$d/bin\" \"$d\" 2>/dev/null; "                                           \
	"[ -z \"$n\" ] || rmdir \"$p\" 2>/dev/null; }; "                                                                 \
	"x() { w=${1##*: }; [ \"$w\" = \"$r\" ] || y=\"$y; $w:\"; r=$w; y=\"$y $d\"; }; r=; y=; i=0; "                   \
	"for d; do i=$((i+1)); [ $i -gt %u ] || continue; case $d in /*) ;; *) continue;; esac; "                        \
	"if [ -L \"$d\" ] || [ -e \"$d\" ] && ! o; then x \"a link, or not yours\"; continue; fi; "                      \
	"p=${d%%/*}; n=; [ -d \"$p\" ] || n=1; t=$d/bin/.tmp.%s; "                                                       \
	"if e=$({ mkdir -p \"$d/bin\" && o && true >\"$t\" && chmod 700 \"$t\"; } 2>&1); then "                          \
	"if \"$t\" 2>/dev/null; then echo CUBE %s none $m \"$y\"; read h; "                                              \
	"if e=$({ cat >\"$t\" && [ -s \"$t\" ] && \"$t\" install $h %s >&3; } 2>&1); then "                              \
	"[ -z \"$n\" ] || true >\"$d/.made-parent\"; exit 0; fi; "                                                       \
	"x \"${e:-damaged on its way}\"; c; echo \"CUBE %s skip $i $y\"; exit 1; fi; "                                   \
	"e=noexec; fi; x \"$e\"; o && c; done; echo \"CUBE %s nowhere $y\""

/* Of this cluster only the last worker to go removes what they share. */
#define CLEAN                                                                                            \
	"k=; l=; for d; do case $d in /*) ;; *) continue;; esac; [ -d \"$d\" ] && o || continue; "       \
	"rmdir \"$d/run\" 2>/dev/null; if [ -d \"$d/run\" ]; then for f in \"$d\"/run/*; do "            \
	"case $f in \"$d/run/%s.\"*) ;; *) k=\"$k $f\";; esac; done; continue; fi; "                     \
	"for f in \"$d\"/bin/* \"$d\"/bin/.tmp.*; do n=${f##*/}; case $n in .tmp.*) ;; "                 \
	"*[!=0-9a-f]*) continue;; *) [ ${#n} = 64 ] || continue;; esac; "                                \
	"rm -f \"$f\" 2>/dev/null; [ ! -e \"$f\" ] || l=\"$l $f\"; done; rmdir \"$d/bin\" 2>/dev/null; " \
	"m=; [ ! -e \"$d/.made-parent\" ] || m=1; [ -d \"$d/bin\" ] || rm -f \"$d/.made-parent\"; "      \
	"rmdir \"$d\" 2>/dev/null && [ \"$m\" ] && rmdir \"${d%%/*}\" 2>/dev/null; done; "               \
	"if [ \"$l\" ]; then echo CUBE %s error cannot remove$l; else echo CUBE %s clean$k; fi"

#endif
