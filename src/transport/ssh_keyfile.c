/* Private key files: see ssh_keyfile.h. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cube/buf.h"
#include "cube/mem.h"
#include "cube/text.h"
#include "ssh_keyfile.h"

static char *read_text(const char *path) {
	struct stat st;
	char *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		text = cube_alloc(CUBE_KEYFILE_MAX + 1);
		ssize_t n = read(fd, text, CUBE_KEYFILE_MAX);
		text[n < 0 ? 0 : n] = '\0';
	}
	close(fd);
	return text;
}

static void drop_text(char *text) {
	if (text) explicit_bzero(text, strlen(text));
	free(text);
}

/* Second word of "ssh-ed25519 AAAA... comment". */
static char *second_word(const char *text) {
	const char *key = text + strcspn(text, " \n");
	key += strspn(key, " ");
	size_t n = strcspn(key, " \r\n");
	return n ? cube_strndup(key, n) : NULL;
}

/* ---- OpenSSH's own format ---------------------------------------------------------------- */

/* "openssh-key-v1\0", then strings: cipher, kdf, its options; the number of keys; the public key.
 */
static const char MAGIC[] = "openssh-key-v1";

struct reader {
	const uint8_t *p;
	size_t n;
};

static bool take_u32(struct reader *r, size_t *ret) {
	if (r->n < 4) return false;
	*ret = (size_t)r->p[0] << 24 | (size_t)r->p[1] << 16 | (size_t)r->p[2] << 8 | r->p[3];
	r->p += 4;
	r->n -= 4;
	return true;
}

static bool take_string(struct reader *r, struct reader *ret) {
	size_t n;
	if (!take_u32(r, &n) || n > r->n) return false;
	*ret = (struct reader){r->p, n};
	r->p += n;
	r->n -= n;
	return true;
}

static void parse_blob(const uint8_t *bytes, size_t n, struct cube_keyfile *ret) {
	struct reader r = {bytes, n}, cipher, kdf, options, key;
	size_t count;
	if (n < sizeof MAGIC || memcmp(bytes, MAGIC, sizeof MAGIC) != 0) return;
	r.p += sizeof MAGIC;
	r.n -= sizeof MAGIC;
	if (!take_string(&r, &cipher) || !take_string(&r, &kdf) || !take_string(&r, &options) ||
	    !take_u32(&r, &count) || !take_string(&r, &key))
		return;
	ret->locked = cipher.n != 4 || memcmp(cipher.p, "none", 4) != 0;
	struct cube_buf pub;
	cube_buf_init(&pub, CUBE_KEYFILE_MAX);
	if (count == 1 && cube_text_base64(&pub, key.p, key.n) == 0 && cube_buf_len(&pub))
		ret->pub = cube_buf_take(&pub, NULL);
	cube_buf_done(&pub);
}

static void parse_openssh(const char *body, struct cube_keyfile *ret) {
	struct cube_buf packed, bytes;
	cube_buf_init(&packed, CUBE_KEYFILE_MAX);
	cube_buf_init(&bytes, CUBE_KEYFILE_MAX);
	for (; *body && *body != '-'; body++)
		if (!isspace((unsigned char)*body)) cube_buf_add(&packed, body, 1);
	const char *text = cube_buf_str(&packed);
	if (cube_text_unbase64(&bytes, text, cube_buf_len(&packed), NULL) == 0)
		parse_blob(cube_buf_data(&bytes), cube_buf_len(&bytes), ret);
	struct cube_buf *all[] = {&packed, &bytes};
	for (size_t i = 0; i < 2; i++) {
		if (cube_buf_len(all[i]))
			explicit_bzero((void *)cube_buf_data(all[i]), cube_buf_len(all[i]));
		cube_buf_done(all[i]);
	}
}

/* ---- any format -------------------------------------------------------------------------- */

static bool public_line(const char *text) {
	return !strncmp(text, "ssh-", 4) || !strncmp(text, "ecdsa-", 6) || !strncmp(text, "sk-", 3);
}

void cube_keyfile_parse(const char *text, struct cube_keyfile *ret) {
	static const char OPENSSH[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
	const char *body = strstr(text, OPENSSH);
	*ret = (struct cube_keyfile){.exists = true};
	if (body) parse_openssh(body + sizeof OPENSSH - 1, ret);
	else if (public_line(text)) {
		ret->public_only = true;
		ret->pub = second_word(text);
	} else {
		/* "Proc-Type: 4,ENCRYPTED", "BEGIN ENCRYPTED PRIVATE KEY" */
		ret->locked = strstr(text, "ENCRYPTED") != NULL;
	}
}

static void find_type(const char *text, struct cube_keyfile *k) {
	struct cube_buf blob;
	cube_buf_init(&blob, CUBE_KEYFILE_MAX);
	if (k->pub && cube_text_unbase64(&blob, k->pub, strlen(k->pub), NULL) == 0)
		cube_ssh_blob_type(cube_buf_data(&blob), cube_buf_len(&blob), k->type,
				   sizeof k->type);
	else if (text && strstr(text, "BEGIN RSA PRIVATE KEY")) memcpy(k->type, "ssh-rsa", 8);
	cube_buf_done(&blob);
}

void cube_keyfile_read(const char *path, struct cube_keyfile *ret) {
	char *text = read_text(path);
	*ret = (struct cube_keyfile){.exists = text || access(path, F_OK) == 0};
	if (text) cube_keyfile_parse(text, ret);
	if (!ret->pub) {
		cube_autofree char *name = cube_strf("%s.pub", path);
		cube_autofree char *pub = read_text(name);
		if (pub && public_line(pub)) ret->pub = second_word(pub);
	}
	find_type(text, ret);
	drop_text(text);
}

bool cube_ssh_blob_type(const void *bytes, size_t len, char *ret, size_t size) {
	const uint8_t *blob = bytes;
	if (len < 4 || blob[0] || blob[1] || blob[2]) return false;
	size_t n = blob[3];
	if (!n || n > len - 4 || n >= size) return false;
	memcpy(ret, blob + 4, n);
	ret[n] = '\0';
	return strlen(ret) == n;
}

/* A length of four bytes and so much; false where there is not as much. */
static bool next_string(const uint8_t **at, size_t *left, const uint8_t **ret, size_t *ret_n) {
	if (*left < 4) return false;
	size_t n =
		(size_t)(*at)[0] << 24 | (size_t)(*at)[1] << 16 | (size_t)(*at)[2] << 8 | (*at)[3];
	if (n > *left - 4) return false;
	*ret = *at + 4;
	*ret_n = n;
	*at += 4 + n;
	*left -= 4 + n;
	return true;
}

unsigned cube_ssh_rsa_bits(const void *bytes, size_t len) {
	const uint8_t *at = bytes, *s;
	size_t n;
	if (!next_string(&at, &len, &s, &n) || n != 7 || memcmp(s, "ssh-rsa", 7) != 0) return 0;
	if (!next_string(&at, &len, &s, &n) || !next_string(&at, &len, &s, &n)) return 0;
	while (n && !*s) s++, n--;
	unsigned bits = (unsigned)n * 8;
	for (unsigned top = n ? *s : 0x80; top < 0x80; top <<= 1) bits--;
	return bits;
}
