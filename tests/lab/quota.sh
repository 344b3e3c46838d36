# shellcheck shell=bash
# home=quota:SIZE of vm.sh: a folder with a quota. tmpfs has them from Linux 6.6 on, where the kernel
# was built so (CONFIG_TMPFS_QUOTA); else it is a btrfs of its own, in a file behind a loop device, and
# SIZE the limit of all that is in it. Neither the mount nor the loop device outlives the host: the
# one is in its mount namespace, the other goes with its last mount, and the file has no name any more.

# "tmpfs", "btrfs", or "-" and why there is neither.
lab_quota_kind() {
	local f
	unshare -m mount -t tmpfs -o usrquota_block_hardlimit=1M quota /mnt 2>/dev/null && echo tmpfs && return
	for f in mkfs.btrfs btrfs; do
		command -v $f >/dev/null || { echo "- no quota on tmpfs here (Linux 6.6, CONFIG_TMPFS_QUOTA), and no $f (package btrfs-progs)"; return; }
	done
	f=$(mktemp -d "${TMPDIR:-/tmp}/lab-quota.XXXXXX") || return 1
	if unshare -m bash -c "$(declare -f lab_quota_mount); lab_quota_mount /mnt \"\$1\" 1M" lab "$f/image" >"$f/said" 2>&1; then
		echo btrfs
	else echo "- no quota on tmpfs here (Linux 6.6, CONFIG_TMPFS_QUOTA), no btrfs on a loop device: $(tail -n 1 "$f/said")"; fi
	rm -r "$f"
}

# Why there can be no quotas here, or nothing.
lab_quota_lacks() { lab_quota_kind | sed -n 's/^- //p'; }

# In the mount namespace of the host: FOLDER FILE SIZE. The file is made, and has no name afterwards.
lab_quota_mount() {
	set -e
	local folder=$1 file=$2
	rm -f "$file"
	truncate -s 128M "$file"
	mkfs.btrfs -q -m single -d single "$file" >/dev/null
	mount -o loop "$file" "$folder"
	rm "$file"
	btrfs quota enable "$folder"
	btrfs quota rescan -w "$folder" >/dev/null
	btrfs qgroup limit "$3" 0/5 "$folder"
}
