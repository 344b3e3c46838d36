/* Questions for people: /v1/prompts, and joining again where one had to be asked. */
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "cube/text.h"
#include "cube/events.h"

/* --- PROMPT --- */

json_t *cube_api_prompt_json(const struct cube_prompt *q) {
	json_t *prompts = json_array(), *nodes = json_array();
	for (unsigned i = 0; i < q->n; i++)
		json_array_append_new(prompts,
				      json_pack("{s:o, s:b}", "text", cube_jv_text(q->texts[i]),
						"echo", q->echo[i]));
	cube_list_each (&q->askers, a, struct cube_asker, entry) {
		json_array_append_new(nodes, cube_jv_text(a->name));
	}
	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:b, s:o}", "prompt", cube_jv_u64(q->id),
			 "kind", cube_ask_kind_name(q->kind), "title", cube_jv_text(q->title),
			 "prompts", prompts, "nodes", nodes, "again", q->tries > 0, "refused_by",
			 cube_jv_optional(q->refused_by));
}

void cube_api_prompts_get(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	const struct cube_prompt *q = NULL;
	json_t *list = json_array();
	while ((q = cube_prompts_next(api->parts.prompts, q)))
		json_array_append_new(list, cube_api_prompt_json(q));
	cube_reply_json(req, 200, json_pack("{s:o}", "prompts", list));
}

/* --- answers --- */

struct answer {
	json_t *answers;
	bool refuse;
};
static const struct cube_field answer_fields[] = {
	{"answers", CUBE_FIELD_ARRAY, .at = offsetof(struct answer, answers)},
	{"refuse", CUBE_FIELD_BOOL, .at = offsetof(struct answer, refuse)},
};

static int take_answers(struct cube_api *api, uint64_t id, const json_t *list,
			struct cube_err *err) {
	const char *answers[CUBE_ASK_PROMPTS];
	size_t n = json_array_size(list);
	if (n > CUBE_ASK_PROMPTS)
		return cube_fail(err, CUBE_EUSAGE, "answers: at most %d", CUBE_ASK_PROMPTS);
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(list, i);
		answers[i] = json_string_value(v);
		if (!answers[i] || strlen(answers[i]) != json_string_length(v) ||
		    strchr(answers[i], '\n'))
			return cube_fail(err, CUBE_EUSAGE, "answers: strings of one line");
	}
	return cube_prompts_answer(api->parts.prompts, id, answers, n, err);
}

static int answer(struct cube_api *api, struct cube_request *req, struct cube_err *err) {
	struct answer a = {0};
	json_t *body = NULL;
	uint64_t id;
	int rc = cube_segment_id(req, "id", "question", &id, err);
	if (!rc) rc = cube_body_json(req, &body, err);
	if (!rc) rc = cube_fields_read(body, answer_fields, 2, &a, err);
	if (!rc && a.refuse == (a.answers != NULL))
		rc = cube_fail(err, CUBE_EUSAGE, "answers: either these, or refuse");
	if (!rc)
		rc = a.answers ? take_answers(api, id, a.answers, err)
			       : cube_prompts_answer(api->parts.prompts, id, NULL, 0, err);
	json_decref(body);
	return rc;
}

static void free_wiped(void *p) {
	if (p) explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

void cube_api_prompt_post(void *arg, struct cube_request *req) {
	struct cube_err err;
	/* The parser makes copies of what it reads. */
	json_set_alloc_funcs(malloc, free_wiped);
	int rc = answer(arg, req, &err);
	json_set_alloc_funcs(malloc, free);
	if (rc) cube_reply_error(req, &err);
	else cube_reply(req, 202, CUBE_JSON_TYPE, "{}\n", 3);
}

/* --- POST /v1/login --- */

struct login {
	json_t *nodes;
	bool ask;
};
static const struct cube_field login_fields[] = {
	{"nodes", CUBE_FIELD_ARRAY, .at = offsetof(struct login, nodes)},
	{"ask", CUBE_FIELD_BOOL, .at = offsetof(struct login, ask)},
};

static json_t *parked(struct cube_api *api) {
	json_t *names = json_array();
	cube_list_each (cube_fleet_list(api->parts.fleet), node, struct cube_node, hook) {
		if (node->state == CUBE_NODE_NEEDS_LOGIN)
			json_array_append_new(names, json_string_nocheck(node->name));
	}
	return names;
}

static void log_in(struct cube_api *api, struct cube_request *req, const json_t *names, bool ask) {
	uint64_t event = cube_events_last(api->parts.events);
	json_t *nodes = json_array(), *added = json_array(), *v;
	size_t i;
	json_array_foreach(names, i, v) {
		struct cube_node *node = cube_fleet_find(api->parts.fleet, json_string_value(v));
		bool is_new;
		cube_node_login(node, ask, &is_new);
		json_array_append_new(nodes, cube_api_node_json(node));
		if (is_new) json_array_append_new(added, cube_jv_text(node->name));
	}
	cube_reply_json(req, 202,
			json_pack("{s:o, s:o, s:o}", "nodes", nodes, "added", added, "event",
				  cube_jv_u64(event)));
}

void cube_api_login_post(void *arg, struct cube_request *req) {
	struct cube_api *api = arg;
	struct login login = {0};
	struct cube_err err;
	json_t *body = NULL, *all = parked(api);
	int rc = cube_body_json(req, &body, &err);
	if (!rc) rc = cube_fields_read(body, login_fields, 2, &login, &err);
	if (!rc) rc = cube_api_check_names(api, login.nodes, &err);
	if (rc) cube_reply_error(req, &err);
	else log_in(api, req, login.nodes ? login.nodes : all, login.ask);
	json_decref(all);
	json_decref(body);
}
