# shellcheck shell=bash
# Tokens that hold keys: a FIDO one made of sk_token.c, and a PKCS#11 one by softhsm. For lab.sh.
#
#   lab_fido DIR          a FIDO token in DIR; its provider is DIR/sk_token.so (see sk_token.c)
#   lab_fido_lacks        why there can be none here, or nothing
#   lab_hsm DIR PIN       a PKCS#11 token called lab; sets LAB_HSM to its library and exports
#                         SOFTHSM2_CONF, by which that library finds it
#   lab_hsm_key FILE ID   puts the key of a file made by `ssh-keygen -m PKCS8` there; ID is hex
#   lab_hsm_lacks         why there can be none here, or nothing

LAB_HSM_LIBRARIES=(/usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so)

lab_fido_lacks() {
	command -v cc >/dev/null || { echo 'no C compiler (gcc)'; return; }
	[ -f /usr/include/openssl/evp.h ] || { echo 'no headers of OpenSSL (libssl-dev)'; return; }
	[ -x /usr/lib/openssh/ssh-sk-helper ] || [ -x /usr/libexec/ssh-sk-helper ] ||
		echo 'this OpenSSH has no ssh-sk-helper'
}

lab_fido() {
	mkdir -p "$1" || return 1
	cc -std=c17 -D_GNU_SOURCE -Wall -O1 -shared -fPIC -o "$1/sk_token.so" \
		"$(dirname "${BASH_SOURCE[0]}")/sk_token.c" -lcrypto
}

lab_hsm_library() {
	local file
	for file in "${LAB_HSM_LIBRARIES[@]}"; do
		[ ! -f "$file" ] || { echo "$file" && return; }
	done
	return 1
}

lab_hsm_lacks() {
	command -v softhsm2-util >/dev/null && lab_hsm_library >/dev/null || echo 'no PKCS#11 token in software (softhsm2)'
}

lab_hsm() {
	mkdir -p "$1/tokens" || return 1
	printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$1/tokens" >"$1/conf"
	export SOFTHSM2_CONF=$1/conf
	export LAB_HSM LAB_HSM_PIN=$2
	LAB_HSM=$(lab_hsm_library)
	softhsm2-util --init-token --free --label lab --pin "$2" --so-pin "so$2" >/dev/null
}

lab_hsm_key() {
	softhsm2-util --import "$1" --token lab --label "key$2" --id "$2" --pin "$LAB_HSM_PIN" >/dev/null
}
