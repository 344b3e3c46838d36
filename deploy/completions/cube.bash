# bash completion of cube. `cube complete` knows the words; here they are only handed over.
# shellcheck shell=bash

_cube_trim() { # into $trimmed
	trimmed=$1
	while [[ $trimmed == [[:blank:]]* ]]; do trimmed=${trimmed#?}; done
}

_cube() {
	local rest=${COMP_LINE:0:COMP_POINT} words=() word i part='' joined strip line trimmed program
	# COMP_WORDBREAKS takes words apart at = and : as well; join what no blank parts.
	for ((i = 0; i <= COMP_CWORD; i++)); do
		_cube_trim "$rest"
		word=${COMP_WORDS[i]}
		[ "$i" != "$COMP_CWORD" ] || word=$trimmed # up to the cursor
		part=$word
		if [ ${#words[@]} = 0 ] || [[ $rest == [[:blank:]]* ]] || [ ! "$rest" ]; then
			words+=("$word")
		else
			words[${#words[@]} - 1]+=$word
		fi
		rest=${trimmed#"$word"}
	done
	program=${words[0]/#\~/$HOME}
	joined=${words[${#words[@]} - 1]}
	[[ $part == [=:] ]] && part=''
	strip=$((${#joined} - ${#part}))
	COMPREPLY=()
	while IFS= read -r line; do
		case $line in
		:files)
			compopt -o filenames
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$part")
			;;
		:dirs)
			compopt -o filenames
			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$part")
			;;
		:commands) mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -c -- "$part") ;;
		*)
			line=${line%%$'\t'*}
			COMPREPLY+=("${line:strip}")
			[[ $line != *[=:] ]] || compopt -o nospace
			;;
		esac
	done < <("$program" complete -- "${words[@]:1:${#words[@]}-2}" "${joined//[\"\'\\]/}" 2>/dev/null)
}

complete -F _cube cube
