/* What can be told of a private key file without opening it. Private to this folder. */
#ifndef CUBE_TRANSPORT_SSH_KEYFILE_H
#define CUBE_TRANSPORT_SSH_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>

enum { CUBE_KEYFILE_MAX = 64 * 1024 };

struct cube_keyfile {
	bool exists;
	bool locked;      /* encrypted: needs a passphrase */
	bool public_only; /* a public key, whose private half is in the agent */
	char *pub;        /* its public half in base64, fresh; NULL: cannot be told */
	char type[64];    /* "ssh-ed25519"; "": cannot be told */
};
void cube_keyfile_read(const char *path, struct cube_keyfile *ret);
/* The same of the file's text; pub NULL unless it is in there. */
void cube_keyfile_parse(const char *text, struct cube_keyfile *ret);

/* "ssh-ed25519": what stands at the front of a public key. */
bool cube_ssh_blob_type(const void *blob, size_t len, char *ret, size_t size);

/* The bits of an RSA key's modulus, in a public key as it is sent; 0: it is none. */
unsigned cube_ssh_rsa_bits(const void *bytes, size_t len);

#endif
