/* A quicker AES-128-CTR for libssh2: see ssh_cipher.c. */
#ifndef CUBE_TRANSPORT_SSH_CIPHER_H
#define CUBE_TRANSPORT_SSH_CIPHER_H

#include <stdbool.h>

/* Makes OpenSSL prefer it from now on. NULL where that cannot be: the cipher is OpenSSL's then. May
 * be called again. */
void *cube_ssh_cipher_load(void);
void cube_ssh_cipher_unload(void *loaded); /* NULL is fine */

#endif
