#!/usr/bin/env bash
# Rules that no compiler checks: rooms, third-party headers, banned calls, sizes, format, shell.
# tests/lint/lint.sh [RULE...]; each finding is a line, the last line is "N passed, N failed".
set -u
shopt -s lastpipe # the last of a pipe may set variables
cd "$(dirname "$0")/../.." || exit 2
export LC_ALL=C

# What a room may use is README's table of rooms, which is the architecture: name, folder, rooms below.
declare -A MAY=() FOLDER=()
while IFS='|' read -r _ folder _ may _; do
	folder=${folder// /} && folder=${folder//[\`]/} && folder=${folder%/}
	name=${folder##*/}
	FOLDER[$name]=$folder
	read -r -a rooms_ <<<"$may"
	MAY[$name]=${rooms_[*]-}
done < <(
	# shellcheck disable=SC2016
	grep -E '^\| `src/[a-z/]+/` \|' README.md
)
room_of() { # a file of src/
	local dir=${1%/*}
	echo "${dir##*/}"
}
# Headers of include/cube without a .c of the same name, or with several.
declare -A ROOM_OF=(
	[list]=base [stream]=io [transport]=transport [store]=store [hosts]=model [metric]=proto [program]=program [copy]=copy
	[turn]=turn [fleet]=fleet [work]=work [api]=api [target]=openssh
)
# The only files that may include a third-party header, as an extended regular expression.
declare -A ONLY=(
	['libssh2(_[a-z]+)?\.h']='^src/transport/(ssh[a-z_]*|known_hosts)\.[ch]$'
	['openssl/[a-z_]+\.h']='^src/transport/ssh_cipher\.c$'
	['sqlite3\.h']='^src/store/'
	['curl/[a-z]+\.h']='^src/cli/client\.c$'
	['microhttpd\.h']='^(src/api/|include/cube/)httpd[a-z_]*\.[ch]$'
	['jansson\.h']='^(src/(cli/|api/(api|spec_json)|fleet/node_row)|include/cube/spec_json)'
)
BANNED='strcpy strcat sprintf vsprintf strtok atoi atol system gets localtime gmtime ctime asctime
	signal rand srand alloca strncat tmpnam mktemp usleep'
FUNCTION_LOOK=60 FUNCTION_MAX=80 FILE_MAX=600 CIRCLE_MAX=6

found=0
finding() {
	echo "$1"
	found=$((found + 1))
}
findings() { while IFS= read -r line; do finding "$line"; done; }

sources() { find src include tests -name '*.[ch]' | sort; }

room_of_header() { # include/cube/<name>.h -> its room
	local name=$1 file
	if [ "${ROOM_OF[$name]:-}" ]; then echo "${ROOM_OF[$name]}" && return; fi
	for file in src/*/"$name".c src/*/*/"$name".c; do
		[ ! -f "$file" ] || [[ $file == src/worker/* ]] || { room_of "$file" && return; }
	done
	echo unknown
}

# Includes. What they hide, by another spelling or a header between, the rule `symbols` finds.
rule_layers() {
	local file room name of path
	declare -A of_header=()
	for file in include/cube/*.h; do
		name=$(basename "$file" .h)
		of_header[$name]=$(room_of_header "$name")
		[ "${of_header[$name]}" != unknown ] || finding "$file: no room has a $name.c"
	done
	for file in src/*/ src/*/*/; do
		name=$(basename "$file")
		[ "${FOLDER[$name]:-}/" = "$file" ] || finding "$file: is not in README's table of rooms"
	done
	while IFS=: read -r file path; do
		case $path in
		cube/*.h)
			name=${path#cube/} && name=${name%.h}
			room=$(room_of "$file")
			of=${of_header[$name]:-unknown}
			# A contract stands on contracts of its own room or below.
			[[ $file != include/* ]] || room=${of_header[$(basename "$file" .h)]}
			[[ " $room program ${MAY[$room]:-} " == *" $of "* ]] ||
				finding "$file: room $room includes cube/$name.h of room $of"
			;;
		*/*) finding "$file: includes $path: only cube/... and files of the same folder" ;;
		*) [ -f "${file%/*}/$path" ] || finding "$file: includes $path, which is not in its folder" ;;
		esac
	done < <(grep -roHE '^[ \t]*#[ \t]*include[ \t]*("[^"]+"|<(cube/|\.)[^>]+>)' src/*/ include | sed -E 's/:[ \t]*#[ \t]*include[ \t]*["<](.*)[">]/:\1/')
}

# What the archives say of each other: edges only downward, libraries and calls only where they may be,
# and no large circle of files in a room. Nothing of a source's spelling matters here.
rule_symbols() {
	local room missing=''
	for room in "${!FOLDER[@]}"; do
		[ "$room" = worker ] || [ -f "build/lib/libcube-$room.a" ] || missing+=" $room"
	done
	[ ! "$missing" ] || { finding "not built:$missing (run make)" && return; }
	for room in "${!MAY[@]}"; do echo "MAY $room ${MAY[$room]}"; done >"$tmp/may"
	nm -A -g build/lib/libcube-*.a 2>/dev/null | awk -v circle_max=$CIRCLE_MAX -v banned="$BANNED" -f tests/lint/symbols.awk "$tmp/may" - >"$tmp/symbols" ||
		finding 'symbols.awk failed'
	sed -n 's/^I //p' "$tmp/symbols"
	sed -n 's/^F //p' "$tmp/symbols" | findings
}

rule_libraries() {
	local header
	for header in "${!ONLY[@]}"; do
		grep -rlE "^#include <$header>" src include | grep -vE "${ONLY[$header]}" |
			sed "s|\$|: may not include ${header//\\/}|"
	done | sed 's/|/ /' | findings
}

# Sources without comments, strings and character constants; the line numbers stay.
stripped() {
	awk '{
		line = $0; out = ""
		while (line != "") {
			if (inside) {
				at = index(line, "*/")
				if (!at) { line = ""; break }
				line = substr(line, at + 2); inside = 0
			} else if (match(line, /"([^"\\]|\\.)*"|'"'([^'\\\\\\\\]|\\\\\\\\.)*'"'|\/\*|\/\//)) {
				out = out substr(line, 1, RSTART - 1)
				token = substr(line, RSTART, RLENGTH)
				line = substr(line, RSTART + RLENGTH)
				if (token == "/*") inside = 1
				else if (token == "//") line = ""
				else out = out "\"\""
			} else { out = out line; line = "" }
		}
		print out
	}' "$1"
}

rule_banned() {
	local file words
	words=$(tr -s ' \t\n' '|' <<<"$BANNED")
	words=${words%|}
	while read -r file; do
		stripped "$file" | grep -nE "(^|[^A-Za-z0-9_.>])($words) *\(" |
			sed -E "s|^([0-9]+):[[:space:]]*(.*)|$file:\1: banned call: \2|"
	done < <(sources) | findings
	# Clocks are read in one place, so that tests can replace them.
	grep -rnE '\b(time|clock|gettimeofday|clock_gettime|timespec_get|ftime)\(' src --include='*.[ch]' |
		grep -v '^src/base/clock\.c:' | sed 's/$/ banned: cube_clock_.../' | findings
	# Two builds of the same sources are the same.
	grep -rnE '__(DATE|TIME|TIMESTAMP)__' src include Makefile | sed 's/$/ banned: the time of the build/' | findings
}

rule_words() {
	grep -rnE '\b(TODO|FIXME|XXX|HACK)\b' src include tests deploy Makefile --include='*' \
		--exclude=lint.sh --exclude-dir=corpus --exclude='*.bin' | cut -c1-120 | findings
}

# A function begins with a line at the margin that ends in '{' and is no struct, enum or table.
rule_sizes() {
	local file n
	while read -r file; do
		n=$(wc -l <"$file")
		[ "$n" -le $FILE_MAX ] || [[ $file == tests/* ]] || finding "$file: $n lines, over $FILE_MAX"
	done < <(sources)
	while read -r file; do
		awk -v look=$FUNCTION_LOOK -v max=$FUNCTION_MAX -v file="$file" '
			/^[A-Za-z_].*\) *{$/ || (/^[ \t].*\) {$/ && open_head) { name = head == "" ? $0 : head; start = NR; next }
			/^[A-Za-z_][^;={]*$/ { head = $0; open_head = 1; next }
			/^}/ && start {
				n = NR - start + 1
				if (n > max) printf "F %s:%d: %d lines, over %d: %s\n", file, start, n, max, name
				else if (n > look) printf "L %s:%d: %d lines, worth a look: %s\n", file, start, n, name
				start = 0
			}
			!/^[ \t]/ { head = ""; open_head = 0 }
		' "$file"
	done < <(sources | grep -v '^tests/unit') >"$tmp/sizes"
	sed -n 's/^L //p' "$tmp/sizes"
	sed -n 's/^F //p' "$tmp/sizes" | findings
}

rule_format() {
	local tool
	tool=$(command -v clang-format-14 || command -v clang-format)
	# Another version formats in another way, and newer releases have no 14.
	"${tool:-false}" --version 2>/dev/null | grep -q 'version 14\.' ||
		{ echo 'lint: format: skipped: there is no clang-format 14' && skipped=1; return; }
	sources | xargs "$tool" --dry-run -Werror 2>&1 | grep -E 'error:' |
		sed -E 's/:[0-9]+: error:.*//' | awk -F: '!seen[$1]++ { print $1 ":" $2 ": not formatted" }' | findings
}

rule_shell() {
	command -v shellcheck >/dev/null || { finding 'shellcheck is not installed'; return; }
	{ git ls-files -co --exclude-standard 2>/dev/null || find . -path ./build -prune -o -type f -print; } | while read -r f; do
		[ -f "$f" ] && head -c 64 "$f" | head -n 1 | grep -qE '^#!.*\b(ba)?sh\b|^# shellcheck shell' && echo "$f"
	done | xargs -P "$(nproc)" -n 4 shellcheck -x -f gcc | findings
}

# The worker is to need no one: a static file without a program interpreter.
rule_worker() {
	local w
	for w in build/worker/*/cube-worker; do
		[ -f "$w" ] || continue
		! readelf -lW "$w" | grep -q INTERP || finding "$w: is not static"
	done
}

# What goes to the hosts formats by cube/format.h: libc's printf, which assert() brings too, is a
# tenth of a worker. So there are no other directives than its own, and no floating point.
rule_formats() {
	local dir file
	for dir in base proto copy model io worker; do
		for file in src/"$dir"/*.[ch]; do
			[ "$file" != src/base/format.c ] || continue
			stripped "$file" | grep -nE '(^|[^A-Za-z0-9_])(v?[sfd]?n?printf|f?puts|assert) *\(' |
				sed -E "s|^([0-9]+):[[:space:]]*(.*)|$file:\1: not in the worker: \2|"
			grep -nE '"[^"]*%[-+0]*[0-9*]*(\.[0-9*]*)?(hh|h|ll|l|z|j)?[^-+0-9*.hlzjdiuxXoscCR%"[:space:]]' "$file" |
				sed -E "s|^([0-9]+):[[:space:]]*(.*)|$file:\1: no such directive: \2|"
		done
	done | findings
}

# The table of tests/README.md names tests that there are.
rule_named() {
	local file name
	# shellcheck disable=SC2016
	grep -oE '`(unit/)?[a-z_]+:[a-z0-9_]+`' tests/README.md | tr -d '\140' | sort -u | while IFS=: read -r file name; do
		case $file:$name in
		script:function | unit/module:function) ;;
		unit/*) grep -qE "^START_TEST\($name\)" "tests/${file}_test.c" || echo "tests/README.md: there is no $file:$name" ;;
		*) grep -qE "^$name\(" "tests/e2e/$file.sh" || echo "tests/README.md: there is no $file:$name" ;;
		esac
	done 2>/dev/null | findings
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0 skipped=0
rules=("$@")
[ $# -gt 0 ] || rules=(layers symbols libraries banned words sizes format shell worker formats named)
for rule in "${rules[@]}"; do
	found=0
	"rule_$rule"
	if [ $found = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	[ $found = 0 ] || echo "lint: $rule: $found findings"
done
echo "$((passed - skipped)) passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
