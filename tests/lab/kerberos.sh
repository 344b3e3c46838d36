# shellcheck shell=bash
# A realm of Kerberos on loopback, for lab.sh: a KDC of its own in a folder, nothing of it in /etc.
#
#   lab_kdc                  realm LAB.TEST with its KDC in $LAB/kdc; exports KRB5_CONFIG. A principal
#                            for this user, with the password "lab", and one for sshd at 127.0.0.1
#   lab_ticket FILE [LIFE]   a ticket for this user in FILE, good for LIFE ("10h")
#   lab_kerberos_sshd        lines of sshd_config that take tickets and nothing else
#   lab_kerberos_lacks       why there can be none here, or nothing
#
# The environment of sshd needs $LAB_KERBEROS_ENV (LAB_SSHD_ENV, see lab.sh).

lab_kerberos_lacks() {
	local p
	for p in krb5kdc kdb5_util kadmin.local kinit klist; do
		PATH=$PATH:/usr/sbin:/sbin command -v $p >/dev/null ||
			{ echo "$p is not installed (krb5-kdc krb5-admin-server krb5-user)"; return; }
	done
}

lab_kdc_config() { # DIR PORT
	cat >"$1/krb5.conf" <<-END
		[libdefaults]
			default_realm = LAB.TEST
			dns_lookup_realm = false
			dns_lookup_kdc = false
			dns_canonicalize_hostname = false
			rdns = false
			default_ccache_name = FILE:$1/default_tickets
		[realms]
			LAB.TEST = {
				kdc = 127.0.0.1:$2
			}
	END
	cat >"$1/kdc.conf" <<-END
		[kdcdefaults]
			kdc_listen = 127.0.0.1:$2
			kdc_tcp_listen = 127.0.0.1:$2
		[realms]
			LAB.TEST = {
				database_name = $1/principal
				key_stash_file = $1/stash
				acl_file = $1/acl
				supported_enctypes = aes256-cts-hmac-sha1-96:normal
			}
		[logging]
			kdc = FILE:$1/kdc.log
			default = FILE:$1/kdc.log
	END
}

lab_kdc_settled() { lab_connects "$1" || lab_pid_gone "$2"; }

lab_kdc_start() { # DIR: on a port that is free
	local tries pid=0
	for tries in 1 2 3 4 5; do
		while lab_connects $((LAB_PORT += 1)); do :; done
		lab_kdc_config "$1" $LAB_PORT
		KRB5_KDC_PROFILE=$1/kdc.conf krb5kdc -n >>"$1/kdc.out" 2>&1 </dev/null 3>&- &
		pid=$!
		disown
		lab_until lab_kdc_settled $LAB_PORT $pid
		if ! lab_pid_gone $pid; then
			echo $pid >"$1/pid" # as a host has it: what ends these ends this as well
			echo kdc >>"$LAB/hosts"
			return 0
		fi
	done
	lab_say "the KDC does not start ($tries times): $(tail -n 3 "$1/kdc.log")"
	return 1
}

lab_kdc() {
	set -- "$LAB/kdc"
	PATH=$PATH:/usr/sbin:/sbin
	mkdir -p "$1" && chmod 700 "$1" || return 1
	export KRB5_CONFIG=$1/krb5.conf
	export LAB_KERBEROS_ENV="KRB5_CONFIG=$KRB5_CONFIG KRB5_KTNAME=$1/keytab KRB5RCACHEDIR=$1"
	lab_kdc_config "$1" 1
	{
		KRB5_KDC_PROFILE=$1/kdc.conf kdb5_util create -s -r LAB.TEST -P "$RANDOM-$RANDOM"
		KRB5_KDC_PROFILE=$1/kdc.conf kadmin.local -q "addprinc -pw lab $(id -un)"
		KRB5_KDC_PROFILE=$1/kdc.conf kadmin.local -q 'addprinc -randkey host/127.0.0.1'
		KRB5_KDC_PROFILE=$1/kdc.conf kadmin.local -q "ktadd -k $1/keytab host/127.0.0.1"
	} >"$1/made" 2>&1 </dev/null
	[ -s "$1/keytab" ] || { lab_say "no realm: $(tail -n 3 "$1/made")"; return 1; }
	lab_kdc_start "$1"
}

lab_ticket() { printf 'lab\n' | KRB5CCNAME=FILE:$1 kinit -l "${2:-10h}" "$(id -un)" >/dev/null; }

lab_kerberos_sshd() {
	printf '%s\n' 'Match all' 'AuthenticationMethods gssapi-with-mic' 'GSSAPIAuthentication yes' \
		'GSSAPIStrictAcceptorCheck no' 'AuthorizedKeysFile none'
}
