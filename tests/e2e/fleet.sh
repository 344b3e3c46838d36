# shellcheck shell=bash
# A fleet as people have it: every host is odd in another way, and one command takes them all.
# on: vm
. "$(dirname "$0")/lib.sh"

FLEET=() MISSING=()

# A host of the fleet: kind $1 with what it lacks here ($2, nothing is lacking if empty), its line of
# the hosts file, and what makes it.
odd() {
	local name=$1 lacks=$2 line=$3
	shift 3
	if [ "$lacks" ]; then MISSING+=("$name: $lacks") && return; fi
	"$@" || exit 3
	FLEET+=("$name")
	echo "$line" >>"$T/t/hosts"
}

setup() {
	hosts 0
	ssh-keygen -q -t rsa -b 2048 -N '' -f "$LAB/rsa_key" </dev/null
	odd plain '' plain lab_vm plain
	odd d1 "$(lab_dropbear_lacks)" 'd1 slots=2' lab_dropbear d 1
	lab_vm bastion net=own || exit 3
	odd inner '' 'inner jump=bastion' lab_vm inner net=of:bastion
	odd rsa '' "rsa key=$LAB/rsa_key" lab_vm rsa "key=$LAB/rsa_key.pub"
	odd fish "$(command -v fish >/dev/null || echo fish is not installed)" fish lab_vm fish shell=/usr/bin/fish
	odd noexec '' noexec lab_vm noexec home=noexec
	odd arm "$(lab_vm_lacks aarch64)" arm lab_vm arm arch=aarch64
	for h in "${FLEET[@]}"; do
		if [ "$h" = d1 ]; then echo "d1: $(hostname)"; else echo "$h: $h"; fi
	done | sort >expected
}

test_the_inner_one_is_behind_the_bastion() {
	run ssh -F "$LAB_CONFIG" inner true
	[ $rc != 0 ] || fail 'it is reached without the bastion'
	ok ssh -F "$LAB_CONFIG" -J bastion inner true
}

test_one_command_takes_them_all() {
	ok cube spawn -i hosts --purge -- cat /proc/sys/kernel/hostname
	sort "$O" | cmp - expected || { shown "$O" && fail 'not everybody answered'; }
	err_lacks 'failed'
	is "$(find "$LAB"/*/root "$LAB"/*/home -name '*cube*' 2>/dev/null)" '' 'files left'
}

test_they_stay_and_work() {
	local n=${#FLEET[@]}
	ok cube spawn -i hosts
	err_has "^$n ready"
	ok cube nodes -o json
	json_is '[.nodes[] | select(.state == "ready")] | length' "$n"
	ok cube run --all -N -- sh -c 'i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo $i; done'
	is "$(sort -n "$O" | uniq -c | awk '{ print $1 }' | sort -u)" "$n" 'times each line came'
	out_lines $((n * 1000))
	head -c 500000 /dev/urandom >data
	ok cube run --all -b --push data -- cat data
	ok cube down --purge
	is "$(find "$LAB"/*/root "$LAB"/*/home -name '*cube*' 2>/dev/null)" '' 'files left'
}

test_kinds_that_are_missing_here() {
	[ ${#MISSING[@]} = 0 ] || skip "$(printf '%s; ' "${MISSING[@]}")"
}

main "$@"
