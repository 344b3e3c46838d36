/* The table of settings: see ssh_keywords.h. Of OpenSSH 10.2, with what Debian and Fedora add. */
#include "ssh_keywords.h"

#include <string.h>
#include <strings.h>

#define READ(name) \
	{ name, CUBE_SSH_READ, NULL }
#define PROGRAM(name, usual) \
	{ name, CUBE_SSH_PROGRAM, usual }
#define NOTHING(name, why) \
	{ name, CUBE_SSH_NOTHING, why }

static const char DONE[] = "ssh -G has done it";
static const char FORWARD[] = "a node's login forwards nothing: `cube forward` does";
static const char TERMINAL[] = "a node's login has no terminal and no keyboard";
static const char SHOWN[] = "how ssh shows things";
static const char SPEED[] = "how fast, not what";
static const char ALIVE[] = "a node's link has pings of its own";
static const char OWN[] = "each node has one login of cube's own";
static const char BY_PROGRAM[] = "those who have it go by the ssh program anyway";

static const struct cube_ssh_keyword KEYWORDS[] = {
	/* where to */
	NOTHING("Host", "the name as it was asked for"),
	READ("HostName"),
	READ("Port"),
	READ("User"),
	READ("AddressFamily"),
	PROGRAM("BindAddress", "none"),
	PROGRAM("BindInterface", "none"),
	NOTHING("CanonicalizeHostname", DONE),
	NOTHING("CanonicalizeFallbackLocal", DONE),
	NOTHING("CanonicalizeMaxDots", DONE),
	NOTHING("CanonicalDomains", DONE),
	NOTHING("CanonicalizePermittedCNAMEs", DONE),
	NOTHING("IgnoreUnknown", DONE),
	NOTHING("Tag", DONE),
	PROGRAM("ConnectionAttempts", "1"),
	READ("ConnectTimeout"),
	READ("ProxyCommand"),
	READ("ProxyJump"),
	PROGRAM("ProxyUseFdpass", "no false"),
	PROGRAM("RefuseConnection", "none"), /* which says why */
	NOTHING("TCPKeepAlive", ALIVE),
	NOTHING("ServerAliveInterval", ALIVE),
	NOTHING("ServerAliveCountMax", ALIVE),
	NOTHING("ChannelTimeout", ALIVE),
	NOTHING("IPQoS", SPEED),
	NOTHING("Compression", SPEED),
	NOTHING("VersionAddendum", "a word of ssh's own greeting"),
	/* whom one meets there */
	READ("StrictHostKeyChecking"), /* no and off are accept-new: a changed key is refused */
	READ("UserKnownHostsFile"),
	READ("GlobalKnownHostsFile"),
	READ("HostKeyAlias"),
	READ("HostKeyAlgorithms"),
	READ("HashKnownHosts"),
	READ("RequiredRSASize"),
	PROGRAM("RevokedHostKeys", "none"),
	PROGRAM("KnownHostsCommand", "none"),
	PROGRAM("VerifyHostKeyDNS", "no false"),
	PROGRAM("CheckHostIP", "no false"),
	PROGRAM("NoHostAuthenticationForLocalhost", "no false"),
	NOTHING("CASignatureAlgorithms", BY_PROGRAM),
	NOTHING("UpdateHostKeys", "it only adds keys that a known host has besides"),
	NOTHING("FingerprintHash", SHOWN),
	NOTHING("VisualHostKey", SHOWN),
	NOTHING("WarnWeakCrypto", SHOWN),
	/* how it is kept secret */
	READ("Ciphers"),
	READ("MACs"),
	READ("KexAlgorithms"),
	PROGRAM("RekeyLimit", "0 default none"),
	PROGRAM("GSSAPIKeyExchange", "no false"),
	NOTHING("GSSAPIKexAlgorithms", BY_PROGRAM),
	/* how one logs in */
	READ("BatchMode"),
	READ("PreferredAuthentications"),
	READ("PubkeyAuthentication"),
	READ("PubkeyAcceptedAlgorithms"),
	READ("KbdInteractiveAuthentication"),
	PROGRAM("KbdInteractiveDevices", "none"),
	READ("PasswordAuthentication"),
	NOTHING("NumberOfPasswordPrompts", "whoever asked for the node is asked, and may go"),
	READ("GSSAPIAuthentication"),
	NOTHING("GSSAPIDelegateCredentials", BY_PROGRAM),
	NOTHING("GSSAPITrustDns", BY_PROGRAM),
	NOTHING("GSSAPIRenewalForcesRekey", BY_PROGRAM),
	NOTHING("GSSAPIClientIdentity", BY_PROGRAM),
	NOTHING("GSSAPIServerIdentity", BY_PROGRAM),
	PROGRAM("HostbasedAuthentication", "no false"),
	NOTHING("HostbasedAcceptedAlgorithms", BY_PROGRAM),
	NOTHING("EnableSSHKeysign", BY_PROGRAM),
	READ("IdentitiesOnly"),
	READ("IdentityAgent"),
	READ("IdentityFile"),
	READ("CertificateFile"),
	READ("PKCS11Provider"),
	NOTHING("SecurityKeyProvider", BY_PROGRAM),
	NOTHING("AddKeysToAgent", "a key that cube reads is put nowhere else"),
	NOTHING("UseKeychain", "of macOS"),
	/* what runs there */
	READ("SessionType"),
	READ("StdinNull"),
	READ("ForkAfterAuthentication"),
	READ("RemoteCommand"),
	NOTHING("RequestTTY", TERMINAL),
	NOTHING("EscapeChar", TERMINAL),
	NOTHING("EnableEscapeCommandline", TERMINAL),
	NOTHING("ObscureKeystrokeTiming", TERMINAL),
	NOTHING("SendEnv", "tasks have the host's environment, and what they are given"),
	PROGRAM("SetEnv", "none"),
	NOTHING("PermitLocalCommand", OWN),
	NOTHING("LocalCommand", OWN),
	READ("ControlPath"), /* of a login of the user's, for lines by the ssh program */
	NOTHING("ControlMaster", OWN),
	NOTHING("ControlPersist", OWN),
	/* what goes through it */
	NOTHING("ClearAllForwardings", FORWARD),
	NOTHING("ExitOnForwardFailure", FORWARD),
	NOTHING("DynamicForward", FORWARD),
	NOTHING("LocalForward", FORWARD),
	NOTHING("RemoteForward", FORWARD),
	NOTHING("PermitRemoteOpen", FORWARD),
	NOTHING("GatewayPorts", FORWARD),
	NOTHING("ForwardAgent", FORWARD),
	NOTHING("ForwardX11", FORWARD),
	NOTHING("ForwardX11Timeout", FORWARD),
	NOTHING("ForwardX11Trusted", FORWARD),
	NOTHING("XAuthLocation", FORWARD),
	NOTHING("Tunnel", FORWARD),
	NOTHING("TunnelDevice", FORWARD),
	NOTHING("StreamLocalBindMask", FORWARD),
	NOTHING("StreamLocalBindUnlink", FORWARD),
	/* what is said */
	NOTHING("LogLevel", SHOWN),
	READ("LogVerbose"),
	NOTHING("SyslogFacility", SHOWN),
};
enum { N = sizeof KEYWORDS / sizeof KEYWORDS[0] };

const struct cube_ssh_keyword *cube_ssh_keyword_find(const char *name, size_t n) {
	for (size_t i = 0; i < N; i++)
		if (strlen(KEYWORDS[i].name) == n && !strncasecmp(KEYWORDS[i].name, name, n))
			return &KEYWORDS[i];
	return NULL;
}

const struct cube_ssh_keyword *cube_ssh_keyword_at(size_t i) {
	return i < N ? &KEYWORDS[i] : NULL;
}

static bool among(const char *list, const char *word, size_t n) {
	for (size_t len; *list; list += len + strspn(list + len, " ")) {
		len = strcspn(list, " ");
		if (len == n && !strncasecmp(list, word, n)) return true;
	}
	return false;
}

/* Each word of the value: RekeyLimit has two. */
bool cube_ssh_keyword_needs(const struct cube_ssh_keyword *k, const char *value, size_t n) {
	const char *end = value + n;
	if (k->use != CUBE_SSH_PROGRAM) return false;
	while (value < end) {
		const char *blank = memchr(value, ' ', (size_t)(end - value));
		size_t len = (size_t)((blank ? blank : end) - value);
		if (len && !among(k->text, value, len)) return true;
		value += len + (blank ? 1 : 0);
	}
	return false;
}
