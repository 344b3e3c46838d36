# shellcheck shell=bash
# A terminal for commands: terminal.c, which says what steps and the report are. For lab.sh.
#
#   lab_terminal DIR      makes DIR/terminal
#   lab_terminal_lacks    why there can be none here, or nothing

lab_terminal_lacks() { command -v cc >/dev/null || echo 'no C compiler (gcc)'; }

lab_terminal() {
	[ -x "$1/terminal" ] || cc -std=gnu17 -D_GNU_SOURCE -Wall -O1 -o "$1/terminal" \
		"$(dirname "${BASH_SOURCE[0]}")/terminal.c"
}
