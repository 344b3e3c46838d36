#include "cube/uses.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cube/id.h"
#include "cube/mem.h"
#include "work_impl.h"

#define ID_BITS 48 /* fits any JSON number */

struct cube_use {
	struct cube_list entry; /* in cube_work.uses */
	uint64_t id;
	int client; /* a pidfd, or -1 */
	uint32_t *nodes;
	size_t n;
};

struct cube_use *cube_use_new(struct cube_work *work, pid_t client) {
	struct cube_use *use = cube_alloc(sizeof *use);
	*use = (struct cube_use){.client = -1};
	use->id = (cube_id_u64() >> (64 - ID_BITS)) | 1;
	if (client > 0) use->client = (int)syscall(SYS_pidfd_open, client, 0);
	cube_list_append(&work->uses, &use->entry);
	return use;
}

uint64_t cube_use_id(const struct cube_use *use) {
	return use->id;
}

void cube_use_add(struct cube_use *use, const struct cube_node *node) {
	use->nodes = cube_realloc_array(use->nodes, use->n + 1, sizeof *use->nodes);
	use->nodes[use->n++] = node->id;
}

struct cube_use *cube_use_find(struct cube_work *work, uint64_t id) {
	cube_list_each (&work->uses, use, struct cube_use, entry) {
		if (use->id == id) return use;
	}
	return NULL;
}

bool cube_use_has(const struct cube_use *use, const struct cube_node *node) {
	for (size_t i = 0; i < use->n; i++)
		if (use->nodes[i] == node->id) return true;
	return false;
}

void cube_use_free(struct cube_use *use) {
	if (!use) return;
	cube_list_remove(&use->entry);
	if (use->client >= 0) close(use->client);
	free(use->nodes);
	free(use);
}

static bool is_gone(const struct cube_use *use) {
	struct pollfd p = {.fd = use->client, .events = POLLIN};
	return use->client >= 0 && poll(&p, 1, 0) > 0;
}

void cube_uses_prune(struct cube_work *work) {
	cube_list_each (&work->uses, use, struct cube_use, entry) {
		if (!is_gone(use)) continue;
		for (size_t i = 0; i < use->n; i++) {
			struct cube_node *node = cube_fleet_by_id(work->is.fleet, use->nodes[i]);
			if (node) node->once = false;
		}
		cube_use_free(use);
	}
}

static bool needs(const struct cube_task *task, uint64_t but_job) {
	return task->job->id != but_job && !task->stopping;
}

bool cube_node_is_used(const struct cube_node *node, uint64_t but_job) {
	cube_list_each (&cube_seat_of(node)->work->uses, use, struct cube_use, entry) {
		if (cube_use_has(use, node)) return true;
	}
	cube_list_each (&cube_seat_of(node)->attempts, task, struct cube_task, queue) {
		if (needs(task, but_job)) return true;
	}
	cube_list_each (&cube_seat_of(node)->bound, task, struct cube_task, queue) {
		if (needs(task, but_job)) return true;
	}
	return false;
}

void cube_uses_free(struct cube_work *work) {
	cube_list_each (&work->uses, use, struct cube_use, entry) cube_use_free(use);
}
