/* Part of store_test.c: rows as text, appended to the struct cube_buf that arg is. */

static int show_job(void *arg, const struct cube_job_row *j) {
	return cube_buf_printf(arg, "job %" PRIu64 " %" PRId64 " '%s' '%s' %u\n", j->id, j->created,
			       j->name, j->spec, j->tasks) +
	       (*j->request ? cube_buf_printf(arg, "request '%s'\n", j->request) : 0);
}

static int show_task(void *arg, const struct cube_task_row *t) {
	return cube_buf_printf(arg,
			       "task %" PRIu64 " job %" PRIu64
			       " %u node %u attempt %u %u/%u/%d %d %" PRId64 " %" PRId64 " %" PRId64
			       " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
			       " '%s'\n",
			       t->id, t->job, t->index, t->node, t->attempt, t->state, t->how,
			       t->value, t->pinned, t->created, t->started, t->finished, t->user_us,
			       t->sys_us, t->max_rss, t->out_end, t->err_end, t->reason) +
	       (t->epoch ? cube_buf_printf(arg, "epoch %" PRIu64 "\n", t->epoch) : 0);
}

static int show_id(void *arg, const struct cube_task_row *t) {
	return cube_buf_printf(arg, "%" PRIu64 " ", t->id);
}

static int show_node(void *arg, const struct cube_node_row *n) {
	return cube_buf_printf(arg,
			       "node %u %u '%s' '%s' '%s' '%s' '%s' %u %d %d %u '%s' '%s' %" PRId64
			       " %" PRId64 "\n",
			       n->id, n->state, n->name, n->host, n->user, n->identity, n->labels,
			       n->port, n->local, n->auto_slots, n->slots, n->reason, n->facts,
			       n->added, n->seen);
}

static int show_event(void *arg, const struct cube_event_row *e) {
	return cube_buf_printf(
		arg, "event %" PRIu64 " %" PRId64 " %" PRIu64 " %u '%s' '%s' '%s' '%s'\n", e->seq,
		e->wall, e->task, e->node, e->kind, e->old_state, e->new_state, e->reason);
}

static int show_chunk(void *arg, const struct cube_chunk_row *c) {
	return cube_buf_printf(arg,
			       "chunk %" PRIu64 ".%u.%u %" PRIu64 "+%" PRIu64 " in %u at %" PRIu64
			       " %" PRId64 "\n",
			       c->task, c->attempt, c->stream, c->offset, c->len, c->segment,
			       c->pos, c->wall);
}

static int show_metric(void *arg, const struct cube_metric *m) {
	return cube_buf_printf(
		arg,
		"metric %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		" %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		" %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %u %u %u %" PRIu64 "\n",
		m->wall, m->cpu_user, m->cpu_system, m->cpu_iowait, m->cpu_steal, m->cpu_idle,
		m->load1, m->load5, m->load15, m->mem_total, m->mem_available, m->swap_total,
		m->swap_free, m->disk_total, m->disk_free, m->disk_read, m->disk_written,
		m->net_received, m->net_sent, m->running, m->psi_cpu, m->psi_mem, m->psi_io,
		m->uptime_s);
}

static int show_wall(void *arg, const struct cube_metric *m) {
	return cube_buf_printf(arg, "%" PRId64 " ", m->wall / SECOND);
}
