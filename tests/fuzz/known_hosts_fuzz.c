/* known_hosts lines and private key files: whatever is in them is taken apart within bounds. */
#include "cube/known_hash.h"
#include "known_hosts.h"
#include "ssh_keyfile.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void one_line(const char *text, size_t n) {
	struct cube_known_line l;
	if (!cube_known_line_parse(text, n, &l)) return;
	if (!l.names_len || !l.type_len || !l.key_len) abort();
	if (l.names < text || l.key + l.key_len > text + n) abort();
	cube_known_names_match(l.names, l.names_len, "[web1.example.org]:2222");
	cube_known_hash_match(l.names, l.names_len, "[web1.example.org]:2222");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
	struct cube_keyfile k;
	char type[16];
	char *copy = malloc(n + 1); /* exactly as long, so that a byte too far is seen */
	if (!copy) return 0;
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	one_line(copy, n);
	cube_keyfile_parse(copy, &k);
	if (k.pub && !*k.pub) abort();
	free(k.pub);
	cube_ssh_blob_type(bytes, n, type, sizeof type);
	free(copy);
	return 0;
}
