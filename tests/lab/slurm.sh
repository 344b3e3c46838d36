# shellcheck shell=bash
# A Slurm cluster, a part of lab.sh: nodes that srun reaches and no ssh (root).
#
#   lab_slurm NAME...    makes and starts one with these nodes; 0, or 1 and why on stderr
#   lab_slurm_lacks      why there can be none here, or nothing
#
# SLURM_CONF and LD_LIBRARY_PATH are exported and PATH has srun, scancel and so on. A node has its own
# processes and host name; what lies in the caller's $HOME there is $LAB/<node>/home. Debian's packages
# are fetched once and unpacked below build/lab; nothing is installed, no munge runs.

lab_slurm_lacks() {
	[ "$(id -u)" = 0 ] || { echo 'namespaces and mounts need root'; return; }
	unshare -m -u -p -f true 2>/dev/null ||
		{ echo 'no mount, host name and process namespaces here'; return; }
	lab_slurm_fetch || echo "slurmd cannot be had from Debian's mirrors"
}

# The programs, and the libraries of theirs that this machine has not got.
lab_slurm_fetch() {
	local cache dir
	cache=$(lab_cache)
	[ ! -x "$cache/slurm/usr/sbin/slurmd" ] || return 0
	mkdir -p "$cache" && dir=$(mktemp -d "$cache/deb.XXXXXX") || return 1
	(
		cd "$dir" && chmod 755 . || exit 1
		ours=(slurmctld slurmd slurm-client slurm-wlm-basic-plugins)
		mapfile -t more < <(apt-get -s install --no-install-recommends "${ours[@]}" | awk '/^Inst/ { print $2 }')
		mapfile -t all < <(printf '%s\n' "${ours[@]}" "${more[@]}" | sort -u)
		timeout 120 apt-get -qq -o APT::Sandbox::User=root download "${all[@]}" || exit 1
		for file in ./*.deb; do dpkg -x "$file" slurm || exit 1; done
		for file in slurmd slurmctld slurmstepd srun scancel squeue sinfo; do
			for there in slurm/usr/sbin slurm/usr/bin; do
				[ ! -x $there/$file-wlm ] || ln -sf $file-wlm $there/$file
			done
		done
		mv slurm "$cache/slurm"
	) >/dev/null 2>&1
	rm -rf "$dir"
	[ -x "$cache/slurm/usr/sbin/slurmd" ]
}

lab_slurm_config() { # LIBRARIES NAME...
	local node
	while lab_connects $((LAB_PORT += 1)); do :; done
	cat <<-END
		ClusterName=lab
		SlurmctldHost=$(uname -n)(127.0.0.1)
		SlurmctldPort=$LAB_PORT
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/none
		CredType=cred/none
		PluginDir=$1/slurm-wlm
		StateSaveLocation=$LAB/slurm/state
		SlurmdSpoolDir=$LAB/%n/spool
		SlurmctldPidFile=$LAB/slurm/slurmctld.pid
		SlurmdPidFile=$LAB/%n/slurmd.pid
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		SwitchType=switch/none
		MpiDefault=none
		SelectType=select/linear
		SchedulerType=sched/builtin
		MailProg=/bin/true
	END
	for node in "${@:2}"; do
		while lab_connects $((LAB_PORT += 1)); do :; done
		echo $LAB_PORT >"$LAB/$node/port"
		echo "NodeName=$node NodeAddr=127.0.0.1 Port=$LAB_PORT CPUs=$(nproc)"
	done
	echo 'PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8'
}

# In the background only: it takes the shell's place, so that the pid is the program's.
lab_slurm_env() {
	exec env -i PATH="$PATH" SLURM_CONF="$SLURM_CONF" LD_LIBRARY_PATH="$LD_LIBRARY_PATH" "$@"
}

# slurmstepd is looked for in /usr/sbin only. All of the node ends with its first process.
lab_slurm_node() { # NAME PROGRAMS
	# shellcheck disable=SC2016
	lab_slurm_env unshare -m -u -p -f --propagation private sh -c '
		read -r pid _ </proc/self/stat && echo "$pid" >"$5" # while proc is the old one
		mount -t proc proc /proc && mount --bind "$2" /usr/sbin && mount --bind "$3" "$4" || exit 1
		echo "$1" >/proc/sys/kernel/hostname
		exec /usr/sbin/slurmd -D
	' lab "$1" "$2" "$LAB/$1/home" "$HOME" "$LAB/$1/pid" >"$LAB/$1/slurmd.log" 2>&1 </dev/null 3>&- &
	disown
}

lab_slurm_idle() { [ "$(timeout 5 sinfo -h -t idle -o %D 2>/dev/null | awk '{ n += $1 } END { print n + 0 }')" = "$1" ]; }

lab_slurm() {
	local root node lacks
	lacks=$(lab_slurm_lacks)
	[ ! "$lacks" ] || { lab_say "no slurm: $lacks"; return 1; }
	root=$(lab_cache)/slurm
	set -- "$root"/usr/lib/*/slurm-wlm "$@" # the folder of its plugins tells the architecture's
	local libraries=${1%/*}
	shift
	mkdir -p "$LAB/slurm/state"
	for node; do mkdir -p "$LAB/$node"/{home,spool}; done
	lab_slurm_config "$libraries" "$@" >"$LAB/slurm/slurm.conf"
	export SLURM_CONF=$LAB/slurm/slurm.conf PATH=$root/usr/bin:$PATH
	export LD_LIBRARY_PATH=$libraries:$libraries/slurm-wlm${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	lab_slurm_env "$root/usr/sbin/slurmctld" -D >"$LAB/slurm/slurmctld.log" 2>&1 </dev/null 3>&- &
	echo $! >"$LAB/slurm/pid"
	disown
	for node; do
		lab_slurm_node "$node" "$root/usr/sbin"
		echo "$node" >>"$LAB/hosts"
	done
	lab_until lab_slurm_idle $#
	lab_slurm_idle $# || { lab_say "slurm: $(tail -n 3 "$LAB"/slurm/*.log "$LAB/$1/slurmd.log")"; return 1; }
}
