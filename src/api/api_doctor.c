/* POST /v1/doctor: findings as they are made, a JSON object a line. */
#include <stdlib.h>

#include "api_impl.h"
#include "cube/mem.h"
#include "cube/doctor.h"

#define AT_ONCE 16u /* hosts examined at a time */
#define OUT_MAX (1u << 20)

struct patient {
	struct visit *visit;
	char *name;
	struct cube_node_settings set;
	bool ask;
	struct cube_doctor *doctor;
};

struct visit {
	struct cube_pages pages;
	struct patient *patients;
	size_t n, next, busy;
};

static void on_found(void *arg, const struct cube_finding *f) {
	struct patient *p = arg;
	struct visit *v = p->visit;
	if (cube_buf_len(&v->pages.out) > OUT_MAX) v->pages.broken = true; /* nobody reads */
	cube_pages_json(&v->pages,
			json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "node", cube_jv_text(p->name),
				  "check", f->check, "verdict", cube_verdict_name(f->verdict),
				  "text", cube_jv_text(f->text), "fix", cube_jv_optional(f->fix),
				  "seconds", cube_jv_real(f->seconds)));
	cube_buf_addstr(&v->pages.out, "\n");
	cube_pages_wake(&v->pages);
}

static void begin_next(struct visit *v);

static void on_done(void *arg) {
	struct patient *p = arg;
	struct visit *v = p->visit;
	cube_doctor_free(p->doctor);
	p->doctor = NULL;
	v->busy--;
	begin_next(v);
	cube_pages_wake(&v->pages);
}

static const struct cube_doctor_events doctor_events = {.found = on_found, .done = on_done};

static void begin_next(struct visit *v) {
	while (v->next < v->n && v->busy < AT_ONCE) {
		struct patient *p = &v->patients[v->next++];
		cube_doctor_new(v->pages.api->parts.fleet, p->name, &p->set, p->ask, &doctor_events,
				p, &p->doctor);
		v->busy++;
	}
}

static int fill(struct cube_pages *p) {
	struct visit *v = cube_container(p, struct visit, pages);
	return v->busy ? 0 : -1;
}

static void release(struct cube_pages *p) {
	struct visit *v = cube_container(p, struct visit, pages);
	for (size_t i = 0; i < v->n; i++) {
		cube_doctor_free(v->patients[i].doctor);
		cube_node_settings_done(&v->patients[i].set);
		free(v->patients[i].name);
	}
	free(v->patients);
	free(v);
}

void cube_api_doctor_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct cube_api_nodes list = {0};
	struct cube_err err;
	json_t *body = NULL;
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = cube_api_nodes_read(api, body, &list, &err);
	if (rc) {
		cube_reply_error(req, &err);
	} else {
		struct visit *v = cube_alloc(sizeof *v);
		v->pages.fill = fill;
		v->pages.free = release;
		v->patients = cube_realloc_array(NULL, list.n + 1, sizeof *v->patients);
		v->n = list.n;
		for (size_t i = 0; i < list.n; i++) {
			v->patients[i] = (struct patient){.visit = v,
							  .ask = list.v[i].ask,
							  .name = cube_strdup(list.v[i].name)};
			cube_node_settings_copy(&v->patients[i].set, &list.v[i].set);
		}
		cube_pages_reply(api, req, "application/x-ndjson", &v->pages);
		begin_next(v);
	}
	cube_api_nodes_done(&list);
	json_decref(body);
}
