/* Part of store_test.c: random operations on both stores; whatever they tell must be equal. */

static uint64_t rng;

static uint64_t next_random(void) {
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}

static uint32_t below(uint32_t n) {
	return (uint32_t)(next_random() % n);
}

static const char *word(void) {
	static const char *const words[] = {"",
					    "",
					    "a",
					    "b",
					    "it's",
					    "\xe2\x82\xac",
					    "a longer text, with; all -- sorts \"of\" it"};

	return words[below(sizeof words / sizeof words[0])];
}

/* One random write, the same on both. */
static int write_one(struct cube_store *s, uint32_t what, struct cube_err *err) {
	switch (what) {
	case 0: return s->ops->meta_put(s, word(), word(), err);
	case 1:
		return s->ops->job_put(s,
				       &(struct cube_job_row){.id = below(20),
							      .name = word(),
							      .spec = word(),
							      .tasks = below(9),
							      .request = below(3) ? "" : word()},
				       err);
	case 2:
	case 3:
	case 4:
		return s->ops->task_put(s,
					&(struct cube_task_row){.id = below(400),
								.job = below(20),
								.index = below(9),
								.node = below(6),
								.attempt = below(4),
								.state = (uint8_t)below(6),
								.how = (uint8_t)below(6),
								.value = (int)below(9) - 4,
								.pinned = below(2),
								.started = below(99),
								.epoch = below(3),
								.out_end = next_random(),
								.reason = word()},
					err);
	case 5:
		return s->ops->node_put(s,
					&(struct cube_node_row){.id = below(9),
								.host = word(),
								.state = (uint8_t)below(9),
								.facts = word(),
								.slots = below(9)},
					err);
	case 6:
		return s->ops->event_add(s,
					 &(struct cube_event_row){.task = below(9),
								  .kind = word(),
								  .reason = word()},
					 NULL, err);
	case 7:
	case 8:
		return s->ops->chunk_add(s,
					 &(struct cube_chunk_row){.task = below(4),
								  .attempt = below(2),
								  .stream = (uint8_t)below(2),
								  .offset = below(60) * 10,
								  .len = below(3) * 10,
								  .segment = below(8) / 7,
								  .pos = below(60) * 10},
					 err);
	case 9: /* one that mostly continues, as logs do */
		rng |= 1;
		return s->ops->chunk_add(
			s,
			&(struct cube_chunk_row){
				.task = 9, .len = 1, .offset = rng % 1000, .pos = rng % 1000},
			err);
	case 10:
	case 11:
		return s->ops->metric_add(
			s, below(4),
			&(struct cube_metric){.wall = below(9000) * SECOND,
					      .load1 = below(9),
					      .psi_io = below(2) ? CUBE_METRIC_NONE : 5},
			err);
	default: return s->ops->metric_thin(s, below(9000) * SECOND, err);
	}
}
enum { WRITES = 13 };

/* One random question; the answer as text. */
static int read_one(struct cube_store *s, uint32_t what, struct cube_buf *b, struct cube_err *err) {
	struct cube_task_filter f = {.job = below(2) ? 0 : below(20),
				     .after = below(2) ? 0 : below(400),
				     .limit = below(2) ? 0 : below(50),
				     .node = below(2) ? 0 : below(6),
				     .states = below(2) ? 0 : below(64),
				     .name = below(3) ? NULL : word(),
				     .newest_first = below(2)};
	uint64_t j = 0, t = 0;
	uint32_t n = 0;
	char *got;
	int r;

	switch (what) {
	case 0:
		r = s->ops->meta_get(s, word(), &got, err);
		if (r < 0) return r;
		cube_buf_addstr(b, got);
		free(got);
		return 0;
	case 1: return s->ops->job_get(s, below(21), show_job, b, err);
	case 2: return s->ops->task_get(s, below(400), show_task, b, err);
	case 3:
	case 4:
	case 5: return s->ops->task_list(s, &f, show_task, b, err);
	case 6: return s->ops->node_list(s, show_node, b, err);
	case 7:
		r = s->ops->last_ids(s, &j, &t, &n, err);
		cube_buf_printf(b, "%" PRIu64 " %" PRIu64 " %u", j, t, n);
		return r;
	case 8: return s->ops->event_list(s, below(100), below(20), show_event, b, err);
	case 9:
		return s->ops->chunk_list(s, below(10), below(2), (uint8_t)below(2), below(700),
					  show_chunk, b, err);
	default:
		return s->ops->metric_list(s, below(4), (int64_t)below(9000) * SECOND, show_metric,
					   b, err);
	}
}
enum { READS = 11 };

/* Runs one step on both stores from the same random state; their answers. */
static void both_steps(struct cube_store *s[KINDS], bool reading, uint32_t what, int step) {
	struct cube_buf b[KINDS];
	struct cube_err err[KINDS] = {{0}, {0}};
	uint64_t from = rng;
	int r[KINDS];

	for (int k = 0; k < KINDS; k++) {
		cube_buf_init(&b[k], 1 << 22);
		rng = from;
		r[k] = reading ? read_one(s[k], what, &b[k], &err[k])
			       : write_one(s[k], what, &err[k]);
	}
	ck_assert_msg(r[0] == r[1], "step %d, %s %u: %d (%s), %d (%s)", step,
		      reading ? "read" : "write", what, r[0], err[0].msg, r[1], err[1].msg);
	ck_assert_str_eq(err[0].msg, err[1].msg);
	ck_assert_str_eq(cube_buf_str(&b[0]), cube_buf_str(&b[1]));
	ck_assert_int_ne(r[0], CUBE_ESYS);
	for (int k = 0; k < KINDS; k++) cube_buf_done(&b[k]);
}

/* Everything there is, for comparing after the file was opened anew. */
static void compare_all(struct cube_store *s[KINDS]) {
	struct cube_buf b[KINDS];
	struct cube_err err = {0};

	for (int k = 0; k < KINDS; k++) {
		cube_buf_init(&b[k], 1 << 24);
		ok(s[k]->ops->task_list(s[k], &(struct cube_task_filter){0}, show_task, &b[k],
					&err));
		ok(s[k]->ops->node_list(s[k], show_node, &b[k], &err));
		ok(s[k]->ops->event_list(s[k], 0, 0, show_event, &b[k], &err));
		for (uint32_t i = 0; i < 40; i++)
			ok(s[k]->ops->chunk_list(s[k], i / 4, i / 2 % 2, (uint8_t)(i % 2), 0,
						 show_chunk, &b[k], &err));
		for (uint32_t i = 0; i < 4; i++)
			ok(s[k]->ops->metric_list(s[k], i, -1, show_metric, &b[k], &err));
	}
	ck_assert_str_eq(cube_buf_str(&b[0]), cube_buf_str(&b[1]));
	for (int k = 0; k < KINDS; k++) cube_buf_done(&b[k]);
}

START_TEST(model) {
	const char *fixed = getenv("CUBE_TEST_SEED");
	uint64_t seed = fixed ? strtoull(fixed, NULL, 0) : (uint64_t)getpid() * 2654435761u + 1;
	struct cube_store *s[KINDS] = {open_kind(MEMORY), open_kind(SQLITE)};
	struct cube_err err = {0};
	bool inside = false;

	rng = seed;
	fprintf(stderr, "store model: CUBE_TEST_SEED=%" PRIu64 "\n", seed);
	for (int step = 0; step < 12000; step++) {
		uint32_t dice = below(100);

		if (dice < 4) {
			for (int k = 0; k < KINDS; k++)
				ok(inside ? s[k]->ops->commit(s[k], &err)
					  : s[k]->ops->begin(s[k], &err));
			inside = !inside;
		} else if (dice < 5 && !inside) {
			cube_store_free(s[SQLITE]);
			s[SQLITE] = open_kind(SQLITE);
			compare_all(s);
		} else {
			both_steps(s, dice < 40, below(dice < 40 ? READS : WRITES), step);
		}
	}
	compare_all(s);
	ck_assert_uint_gt(count_tasks(s[SQLITE]), 300);
	for (int k = 0; k < KINDS; k++) cube_store_free(s[k]);
}
END_TEST
