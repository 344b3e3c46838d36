/* A real OpenSSH server for tests: unprivileged where we are, on a port of 127.0.0.1, in a
 * scratch folder with keys of its own. Included by test programs.
 *
 * Layout of the scratch folder: host_key host_key2 id id2 idenc (+ .pub), authorized_keys,
 * sshd_config, .ssh/config (alias "box"), .ssh/known_hosts. */
#ifndef TRANSPORT_SSHD_H
#define TRANSPORT_SSHD_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cube/mem.h"
#include "transport_peer.h"

struct sshd {
	char dir[64];
	uint16_t port;
	pid_t pid;
	bool penalties; /* it has PerSourcePenalties: since OpenSSH 9.8, and on */
};

static void write_file(const char *dir, const char *name, int mode, const char *text) {
	cube_autofree char *path = cube_strf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static char *read_file(const char *dir, const char *name) {
	cube_autofree char *path = cube_strf("%s/%s", dir, name);
	char *text = cube_alloc(65536);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ck_assert(read(fd, text, 65535) >= 0);
		close(fd);
	}
	return text;
}

/* Its wait status. */
static int run_to_end(const char *const argv[], bool complains) {
	int status;
	pid_t pid = fork();
	ck_assert(pid >= 0);
	if (!pid) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		if (!complains) dup2(null, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static void run_program(const char *const argv[]) {
	ck_assert_msg(run_to_end(argv, true) == 0, "%s failed", argv[0]);
}

static void make_key(const char *dir, const char *name, const char *type, const char *pass) {
	cube_autofree char *path = cube_strf("%s/%s", dir, name);
	const char *argv[] = {"ssh-keygen", "-q", "-t", type,   "-N", pass,
			      "-f",         path, "-C", "test", NULL};
	run_program(argv);
}

static void make_keys(const char *dir) {
	make_key(dir, "host_key", "ed25519", "");
	make_key(dir, "host_key2", "ed25519", "");
	make_key(dir, "id", "ed25519", "");
	make_key(dir, "id2", "ed25519", "");
	make_key(dir, "idenc", "ed25519", "secret");
	cube_autofree char *pub = read_file(dir, "id.pub");
	write_file(dir, "authorized_keys", 0600, pub);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
	/* a server's last child may do away with something meanwhile */
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static void remove_all(const char *dir) {
	ck_assert_msg(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "%s: %s", dir,
		      strerror(errno));
}

/* A listening socket nobody accepts from: also the way to find a free port. Not one that the kernel
 * chooses: it gives the same to any client as soon as this socket is closed for the server. */
static int listen_any(uint16_t *ret_port) {
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint16_t dice;
	ck_assert(fd >= 0);
	do {
		ck_assert_int_eq(getrandom(&dice, sizeof dice, 0), (ssize_t)sizeof dice);
		*ret_port = (uint16_t)(10240 + dice % 21000);
		sa.sin_port = htons(*ret_port);
	} while (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 && errno == EADDRINUSE);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* Ready when its greeting comes: connects until it does. */
static bool greets(uint16_t port) {
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char hello[4] = "";
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
		  recv(fd, hello, 4, MSG_WAITALL) == 4 && !memcmp(hello, "SSH-", 4);
	close(fd);
	return ok;
}

/* By its id, and waited for. */
static void sshd_stop(struct sshd *s) {
	if (s->pid <= 0) return;
	kill(s->pid, SIGTERM);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR) {}
	s->pid = 0;
}

/* sshd takes the first value it finds: `first` goes before the lines of all tests, `more` after.
 * Logins have the scratch folder as HOME: what this machine's user keeps in a shell's rc files may
 * cost a hundred processes a login. */
static void sshd_launch(struct sshd *s, const char *host_key, const char *first, const char *more) {
	cube_autofree char *config = cube_strf(
		"%sPort %u\nListenAddress 127.0.0.1\nHostKey %s/%s\nAuthorizedKeysFile %s/authorized_keys\n"
		"StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\n"
		"KbdInteractiveAuthentication no\nPermitRootLogin yes\nUseDNS no\n"
		"PrintMotd no\nPrintLastLog no\nLogLevel ERROR\nAcceptEnv XX\nSetEnv HOME=%s\n%s%s\n",
		first, s->port, s->dir, host_key, s->dir, s->dir,
		s->penalties ? "PerSourcePenalties no\n" : "", more ? more : "");
	write_file(s->dir, "sshd_config", 0600, config);
	cube_autofree char *path = cube_strf("%s/sshd_config", s->dir);
	if (geteuid() == 0) (void)!mkdir("/run/sshd", 0755);
	s->pid = fork();
	ck_assert(s->pid >= 0);
	if (!s->pid) {
		const char *argv[] = {"/usr/sbin/sshd", "-D", "-e", "-f", path, NULL};
		cube_autofree char *log = cube_strf("%s/sshd.log", s->dir);
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 2);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (!greets(s->port)) {
		int status;
		ck_assert_msg(waitpid(s->pid, &status, WNOHANG) == 0, "sshd does not start");
		poll(NULL, 0, 2);
	}
}

static inline void sshd_start(struct sshd *s, const char *host_key, const char *more) {
	sshd_launch(s, host_key, "", more);
}

/* Tests fail to log in for good reasons, all from one address. */
static bool sshd_knows_penalties(const struct sshd *s) {
	cube_autofree char *config =
		cube_strf("HostKey %s/host_key\nPerSourcePenalties no\n", s->dir);
	cube_autofree char *path = cube_strf("%s/sshd_config", s->dir);
	const char *argv[] = {"/usr/sbin/sshd", "-t", "-f", path, NULL};
	write_file(s->dir, "sshd_config", 0600, config);
	if (geteuid() == 0) (void)!mkdir("/run/sshd", 0755);
	return run_to_end(argv, false) == 0;
}

/* What programs with a server a test make once, as an unchecked fixture: the keys. */
static struct sshd made_once;

static inline void sshd_keys(void) {
	snprintf(made_once.dir, sizeof made_once.dir, "/tmp/cube-ssh-keys-XXXXXX");
	ck_assert(mkdtemp(made_once.dir) != NULL);
	make_keys(made_once.dir);
	made_once.penalties = sshd_knows_penalties(&made_once);
}

static inline void sshd_keys_cleanup(void) {
	remove_all(made_once.dir);
}

static void copy_keys(struct sshd *s) {
	static const char *const names[] = {"host_key", "host_key2", "id", "id2", "idenc"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		cube_autofree char *pub = cube_strf("%s.pub", names[i]);
		cube_autofree char *key = read_file(made_once.dir, names[i]);
		cube_autofree char *text = read_file(made_once.dir, pub);
		write_file(s->dir, names[i], 0600, key);
		write_file(s->dir, pub, 0644, text);
		if (strcmp(names[i], "id") == 0) write_file(s->dir, "authorized_keys", 0600, text);
	}
	s->penalties = made_once.penalties;
}

/* Makes the folder and its keys; the server comes with sshd_start. */
static void sshd_prepare(struct sshd *s) {
	memset(s, 0, sizeof *s);
	snprintf(s->dir, sizeof s->dir, "/tmp/cube-ssh-XXXXXX");
	ck_assert(mkdtemp(s->dir) != NULL);
	if (made_once.dir[0]) copy_keys(s);
	else make_keys(s->dir), s->penalties = sshd_knows_penalties(s);
	int fd = listen_any(&s->port);
	close(fd);
	cube_autofree char *ssh = cube_strf("%s/.ssh", s->dir);
	ck_assert_int_eq(mkdir(ssh, 0700), 0);
	cube_autofree char *config =
		cube_strf("Host box\n  HostName 127.0.0.1\n  Port %u\n"
			  "Host *\n  IdentityFile %s/id\n  IdentityAgent none\n"
			  "  UserKnownHostsFile %s/.ssh/known_hosts\n  GlobalKnownHostsFile none\n",
			  s->port, s->dir, s->dir);
	write_file(s->dir, ".ssh/config", 0600, config);
	setenv("HOME", s->dir, 1);
	unsetenv("SSH_AUTH_SOCK");
}

static void sshd_cleanup(struct sshd *s) {
	sshd_stop(s);
	remove_all(s->dir);
}

#endif
