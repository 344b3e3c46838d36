/* Equal outputs printed once, under the folded names of their hosts, as clush -b does. */
#include <stdlib.h>
#include <string.h>

#include "cube/mem.h"
#include "cube/nodeset.h"
#include "output_source.h"

#define NAMES_MAX (16u << 20)
#define RULE      "---------------\n"

struct group {
	size_t at, n; /* of the sources sorted by content */
	size_t order; /* of its first source before sorting */
};

struct item {
	struct cube_output_source *s;
	size_t order;
};

static int compare_content(const struct cube_output_source *a, const struct cube_output_source *b) {
	size_t n = cube_buf_len(&a->gathered), m = cube_buf_len(&b->gathered);
	if (n != m) return n < m ? -1 : 1;
	return memcmp(cube_buf_data(&a->gathered), cube_buf_data(&b->gathered), n);
}

static int by_content(const void *x, const void *y) {
	const struct item *a = x, *b = y;
	int rc = compare_content(a->s, b->s);
	return rc ? rc : a->order < b->order ? -1 : a->order > b->order;
}

/* The largest group first, as clush does; equal ones in the order of their tasks. */
static int by_size(const void *x, const void *y) {
	const struct group *a = x, *b = y;
	if (a->n != b->n) return a->n > b->n ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int print_group(struct cube_output *o, const struct item *items, size_t n) {
	const char **names = cube_realloc_array(NULL, n, sizeof *names);
	struct cube_buf head;
	cube_buf_init(&head, NAMES_MAX);
	for (size_t i = 0; i < n; i++) names[i] = items[i].s->node;
	int rc = cube_buf_addstr(&head, RULE);
	if (!rc) rc = cube_nodeset_fold(names, n, &head);
	if (!rc && n > 1) rc = cube_buf_printf(&head, " (%zu)", n);
	if (!rc) rc = cube_buf_addstr(&head, "\n" RULE);
	if (!rc) rc = cube_output_write(o, 1, cube_buf_data(&head), cube_buf_len(&head));
	const struct cube_buf *body = &items[0].s->gathered;
	size_t len = cube_buf_len(body);
	if (!rc) rc = cube_output_write(o, 1, cube_buf_data(body), len);
	if (!rc && len > 0 && cube_buf_data(body)[len - 1] != '\n')
		rc = cube_output_write(o, 1, "\n", 1);
	cube_buf_done(&head);
	free(names);
	return rc;
}

int cube_output_fold(struct cube_output *o) {
	cube_autofree struct item *items =
		cube_realloc_array(NULL, o->config.count + 1, sizeof *items);
	cube_autofree struct group *groups =
		cube_realloc_array(NULL, o->config.count + 1, sizeof *groups);
	size_t n = 0, ngroups = 0;
	int rc = 0;
	for (uint64_t i = 0; i < o->config.count; i++) {
		struct cube_output_source *s = o->sources[i * 2];
		if (s && s->gathering && cube_buf_len(&s->gathered) > 0)
			items[n] = (struct item){s, n}, n++;
	}
	qsort(items, n, sizeof *items, by_content);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && compare_content(items[i - 1].s, items[i].s) == 0)
			groups[ngroups - 1].n++;
		else groups[ngroups++] = (struct group){i, 1, items[i].order};
	}
	qsort(groups, ngroups, sizeof *groups, by_size);
	for (size_t i = 0; !rc && i < ngroups; i++)
		rc = print_group(o, items + groups[i].at, groups[i].n);
	return rc;
}
