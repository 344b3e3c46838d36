# shellcheck shell=bash
# Completion in bash, zsh and fish, and the man page: all of it from the command table.
# on: local
. "$(dirname "$0")/lib.sh"

setup() {
	hosts 3
	mkdir -p "$HOME/.ssh"
	printf 'Include more\nHost alpha alpine *.example.com !no\n  Port 1\n' >"$HOME/.ssh/config"
	printf 'Host beta\n' >"$HOME/.ssh/more"
	printf 'web1 slots=2\nweb2\n[front]\nweb1\n' >hosts
}

words() { cube complete -- "$@" | cut -f1 | tr '\n' ' '; }
manager_is() { # running or not
	local got=not
	! curl -s --unix-socket "$CUBE_STATE_DIR/default/sock" http://cube/healthz >/dev/null || got=running
	is "$got" "$1" 'the manager'
}

test_words() {
	is "$(words sp)" 'spawn '
	is "$(words --cluster x sp)" 'spawn '
	is "$(words --clu)" '--cluster= '
	is "$(words spawn --host-key-check '')" 'strict accept-new '
	is "$(words spawn --host-key-check=s)" '--host-key-check=strict '
	is "$(words nodes -o j)" 'json jsonl '
	is "$(words nodes -oj)" '-ojson -ojsonl '
	is "$(words spawn --transport=o)" '--transport=openssh '
	is "$(words help ps)" 'ps '
	is "$(words run --env-file '')" ':files '
	is "$(words run --env-file=x)" ':files '
	is "$(words run -C '')" ':dirs '
	is "$(words run ec)" ':commands '
	is "$(words run echo --fo)" ':files '
	is "$(words spawn -w a -- '')" ':commands '
	is "$(words nosuch '')" ''
	is "$(words version x)" ''
	is "$(words complete)" ''
	is "$(words com)" ''
	ok cube complete
	ok cube complete --
	out_is ''
}

test_each_option_of_each_command() {
	local c n=0
	for c in $(cube complete -- '' | cut -f1); do
		cube complete -- "$c" -- | cut -d= -f1 | cut -f1 | sort >offered
		cube help "$c" | grep -oE '^ {2,6}(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort >told
		cmp -s offered told || fail "$c: $(diff offered told)"
		n=$((n + $(wc -l <told)))
	done
	[ $n -gt 100 ] || fail "only $n options"
}

test_hosts_of_files() {
	is "$(words spawn -w al)" 'alpha alpine '
	is "$(words spawn --workers=x,al)" '--workers=x,alpha --workers=x,alpine '
	is "$(words spawn -w me@be)" 'me@beta '
	is "$(words spawn -w 'a!be')" 'a!beta '
	is "$(words doctor be)" 'beta '
	is "$(words spawn -J a,be)" 'a,beta '
	is "$(words spawn -i hosts -w web)" 'web1 web2 '
	is "$(words spawn -ihosts -w web)" 'web1 web2 '
	is "$(words spawn --inventory=hosts -w @)" '@front '
	is "$(CUBE_HOSTS=hosts words spawn -w web)" 'web1 web2 '
	printf 'Host other\n' >config
	is "$(words spawn -F config -w o)" 'other '
	is "$(words spawn -F config -w al)" ''
	printf 'web1 nonsense=1\n' >bad
	is "$(words spawn -i bad -w web)" ''
	is "$(words spawn -i /nonexistent -w web)" ''
	manager_is not
}

test_live() {
	ok cube spawn --workers="$W"
	ok cube run -d -n 2 -- true
	is "$(words down localhost)" 'localhost-1 localhost-2 localhost-3 '
	is "$(words run -w localhost-1,localhost-2,loc)" "$(printf 'localhost-1,localhost-2,localhost-%d ' 1 2 3)"
	is "$(words exec localhost-1)" 'localhost-1 '
	is "$(words cp localhost-3)" 'localhost-3: :files '
	is "$(words forward 8080:localhost-2)" '8080:localhost-2 '
	is "$(words logs '')" '2 job:1 1 '
	is "$(words logs job:)" 'job:1 '
	[[ $(words inspect '') == *job:1*localhost-3* || $(words inspect '') == *localhost-3*job:1* ]] || fail "inspect: $(words inspect '')"
	is "$(words --cluster another logs '')" ''
}

# A manager that does not answer keeps nobody waiting.
test_stopped_manager() {
	local pid begin
	pid=$(manager_pid)
	kill -STOP "$pid"
	begin=${EPOCHREALTIME/./}
	is "$(words down l)" ''
	begin=$((${EPOCHREALTIME/./} - begin))
	kill -CONT "$pid"
	[ $begin -lt $((700000 * ${CUBE_TEST_PACE:-3})) ] || fail "took $begin us" # 300 ms, on a machine with other work
}

# ---- in the shells ------------------------------------------------------------------------------

in_bash() { # LINE: what COMPREPLY holds, a line each
	bash --norc -c '
		. "$1/deploy/completions/cube.bash"
		compopt() { echo "compopt $*" >&3; } # only while a completion runs
		COMP_LINE=$2 COMP_POINT=${#2}
		eval "$(complete -p cube | sed "s/.*-F \([^ ]*\) .*/handler=\1/")"
		# readline takes words apart at = and : too
		mapfile -t COMP_WORDS < <(grep -oE "[=:]+|[^ =:]+" <<<"$2")
		[[ $2 != *" " ]] || COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
		"$handler" cube
		printf "%s\n" "${COMPREPLY[@]}"
	' bash "$ROOT" "$1" 3>"$T/compopt"
}

test_bash() {
	is "$(in_bash 'cube sp')" spawn
	is "$(in_bash 'cube spawn --workers=al')" $'alpha\nalpine'
	is "$(in_bash 'cube spawn --workers=')" "$(cube complete -- spawn --workers= | cut -f1 | sed 's/.*=//')"
	is "$(in_bash 'cube spawn --workers=x,al')" $'x,alpha\nx,alpine'
	is "$(in_bash 'cube spawn -w be')" beta
	is "$(in_bash 'cube spawn --host-key-ch')" --host-key-check=
	is "$(cat "$T/compopt")" 'compopt -o nospace'
	is "$(in_bash 'cube logs job:')" 1 # what stands behind the colon is replaced
	is "$(in_bash 'cube logs ')" $'2\njob:1\n1'
	is "$(in_bash 'cube spawn -i hos')" hosts
	is "$(in_bash 'cube run --env-file=hos')" hosts
	is "$(in_bash 'cube help versi')" version
	[[ $'\n'$(in_bash 'cube run basenam')$'\n' == *$'\nbasename\n'* ]] || fail 'no programs'
}

# With a terminal of its own: what Tab makes of each LINE. ^X then prints the line.
in_zsh() {
	within 20 zsh -f -c '
		zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "PS1= ; stty -echo; unset zle_bracketed_paste"
		zpty -w z "fpath=($1/deploy/completions \$fpath); autoload -U compinit; compinit -u -D"
		zpty -w z "report() { print -r -- \"<<\$BUFFER>>\"; BUFFER=; zle send-break }; zle -N report; bindkey \"^X\" report"
		zpty -w z "print rea\"\"dy"
		zpty -r z out "*ready*"
		for line in "${@[2,-1]}"; do
			zpty -w -n z "$line"$'"'\\t\\x18'"'
			zpty -r z out "*<<*>>*"
			print -r -- "${${out##*<<}%%>>*}"
		done
		zpty -d z
	' zsh "$ROOT" "$@"
}

test_zsh() {
	command -v zsh >/dev/null || skip 'zsh is not installed'

	in_zsh 'cube spaw' 'cube spawn --host-key-ch' 'cube spawn --workers=x,alph' 'cube logs jo' \
		'cube spawn -i hos' 'cube run --env-file=hos' 'cube run -C /us' >got
	is "$(cat got)" 'cube spawn 
cube spawn --host-key-check=
cube spawn --workers=x,alpha 
cube logs job:1 
cube spawn -i hosts 
cube run --env-file=hosts 
cube run -C /usr/'
}

in_fish() { HOME=$T/fish within 20 fish --no-config -c "source '$ROOT/deploy/completions/cube.fish'; complete -C '$1'" | cut -f1 | tr '\n' ' '; }

test_fish() {
	command -v fish >/dev/null || skip 'fish is not installed'
	mkdir -p "$T/fish"
	cp -r "$HOME/.ssh" "$T/fish/"
	is "$(in_fish 'cube spaw')" 'spawn '
	is "$(in_fish 'cube spawn --workers=al')" '--workers=alpha --workers=alpine '
	is "$(in_fish 'cube spawn -w x,al')" 'x,alpha x,alpine '
	is "$(in_fish 'cube spawn --host-key-ch')" '--host-key-check= '
	is "$(in_fish 'cube logs job:')" 'job:1 '
	is "$(in_fish 'cube spawn -i hos')" 'hosts '
	is "$(in_fish 'cube run --env-file=hos')" '--env-file=hosts '
	[[ " $(in_fish 'cube run basenam')" == *' basename '* ]] || fail 'no programs'
}

# ---- the man page -------------------------------------------------------------------------------

test_man_page() {
	local c o
	ok cube help --man
	cp "$O" cube.1
	command -v man >/dev/null || skip 'man-db is not installed'
	LC_ALL=C.UTF-8 MANWIDTH=200 man -l --warnings cube.1 2>warnings | col -b >text
	is "$(cat warnings)" '' 'warnings'
	for c in $(cube complete -- '' | cut -f1); do
		grep -qE "^ +cube $c( |\$)" text || fail "no $c"
		for o in $(cube help "$c" | grep -oE '^ {2,6}(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+'); do
			grep -qE -- "(^| )$o([ ,]|\$)" text || fail "no $o of $c"
		done
	done
	for c in NAME SYNOPSIS COMMANDS ENVIRONMENT 'EXIT STATUS' FILES EXAMPLES; do
		grep -qE "^$c\$" text || fail "no section $c"
	done
	grep -qF "cube spawn --workers='web[1-8],db1'" text || fail 'an example is not as it is typed'
}

test_installed() {
	make -C "$ROOT" -s install DESTDIR="$PWD/root" PREFIX=/usr B="$(dirname "$CUBE")" >/dev/null || fail 'make install'
	for f in bin/cube share/man/man1/cube.1 share/bash-completion/completions/cube \
		share/zsh/site-functions/_cube share/fish/vendor_completions.d/cube.fish; do
		[ -s "root/usr/$f" ] || fail "no $f"
	done
}

main "$@"
