#include <limits.h>
#include <string.h>

#include "cube/procfs.h"

/* The rest of a text, or of one line of it. */
struct span {
	const char *p, *end;
};

static struct span span_of(const char *text, size_t n) {
	if (n == 0) text = ""; /* no arithmetic on NULL */
	return (struct span){.p = text, .end = text + n};
}

/* Takes the next line (without its newline) off s; false at the end. */
static bool next_line(struct span *s, struct span *ret) {
	const char *nl;

	if (s->p == s->end) return false;
	nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
	*ret = (struct span){.p = s->p, .end = nl ? nl : s->end};
	s->p = nl ? nl + 1 : s->end;
	return true;
}

static bool is_digit(char c) {
	return c >= '0' && c <= '9';
}

static void skip_blanks(struct span *s) {
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t')) s->p++;
}

static bool at_word_end(const struct span *s) {
	return s->p == s->end || *s->p == ' ' || *s->p == '\t' || *s->p == '\n';
}

/* Steps over `word` when s begins with it. */
static bool skip_word(struct span *s, const char *word) {
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return false;
	s->p += n;
	return true;
}

static bool digits(struct span *s, uint64_t *ret) {
	uint64_t v = 0;

	if (s->p == s->end || !is_digit(*s->p)) return false;
	for (; s->p < s->end && is_digit(*s->p); s->p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s->p - '0'), &v))
			return false;
	*ret = v;
	return true;
}

/* The next blank-separated word as a number. */
static bool number(struct span *s, uint64_t *ret) {
	skip_blanks(s);
	return digits(s, ret) && at_word_end(s);
}

static bool skip_field(struct span *s) {
	skip_blanks(s);
	if (s->p == s->end) return false;
	while (!at_word_end(s)) s->p++;
	return true;
}

/* Up to max numbers of the line; returns how many came before the end or something else. */
static size_t numbers(struct span *line, uint64_t *v, size_t max) {
	size_t n = 0;

	while (n < max && number(line, &v[n])) n++;
	return n;
}

/* "12.34" as 1234; further decimals are dropped. */
static bool hundredths(struct span *s, uint32_t *ret) {
	uint64_t whole, part = 0;

	if (!digits(s, &whole) || whole > UINT32_MAX / 100 - 1) return false;
	if (s->p < s->end && *s->p == '.') {
		size_t n = 0;

		for (s->p++; s->p < s->end && is_digit(*s->p); s->p++, n++)
			if (n < 2) part = part * 10 + (uint64_t)(*s->p - '0');
		if (n == 0) return false;
		if (n == 1) part *= 10;
	}
	if (!at_word_end(s)) return false;
	*ret = (uint32_t)(whole * 100 + part);
	return true;
}

void cube_procfs_stat(struct cube_metric *m, const char *text, size_t n) {
	enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, FIELDS };
	struct span all = span_of(text, n), line;
	uint64_t v[FIELDS] = {0};
	size_t got = 0;

	while (next_line(&all, &line))
		if (skip_word(&line, "cpu ")) {
			got = numbers(&line, v, FIELDS);
			break;
		}
	if (got <= IDLE) return;
	/* Fields beyond `got` are zero. guest time is part of user already. */
	m->cpu_user = v[USER] + v[NICE];
	m->cpu_system = v[SYSTEM] + v[IRQ] + v[SOFTIRQ];
	m->cpu_idle = v[IDLE];
	if (got > IOWAIT) m->cpu_iowait = v[IOWAIT];
	if (got > STEAL) m->cpu_steal = v[STEAL];
}

enum mem_field {
	TOTAL,
	AVAILABLE,
	FREE,
	BUFFERS,
	CACHED,
	RECLAIMABLE,
	SHMEM,
	SWAP_TOTAL,
	SWAP_FREE,
	MEM_FIELDS
};
static const char *const mem_names[MEM_FIELDS] = {
	[TOTAL] = "MemTotal:",  [AVAILABLE] = "MemAvailable:", [FREE] = "MemFree:",
	[BUFFERS] = "Buffers:", [CACHED] = "Cached:",          [RECLAIMABLE] = "SReclaimable:",
	[SHMEM] = "Shmem:",     [SWAP_TOTAL] = "SwapTotal:",   [SWAP_FREE] = "SwapFree:",
};

static unsigned read_meminfo(struct span all, uint64_t bytes[MEM_FIELDS]) {
	struct span line;
	unsigned seen = 0;

	while (next_line(&all, &line))
		for (unsigned i = 0; i < MEM_FIELDS; i++) {
			uint64_t kb;

			if (!skip_word(&line, mem_names[i])) continue;
			if (number(&line, &kb) && kb <= UINT64_MAX >> 14) {
				bytes[i] = kb << 10;
				seen |= 1u << i;
			}
			break;
		}
	return seen;
}

void cube_procfs_meminfo(struct cube_metric *m, const char *text, size_t n) {
	uint64_t b[MEM_FIELDS] = {0};
	unsigned seen = read_meminfo(span_of(text, n), b);

	if (seen & 1u << TOTAL) m->mem_total = b[TOTAL];
	if (seen & 1u << SWAP_TOTAL) m->swap_total = b[SWAP_TOTAL];
	if (seen & 1u << SWAP_FREE) m->swap_free = b[SWAP_FREE];
	if (seen & 1u << AVAILABLE) {
		m->mem_available = b[AVAILABLE];
	} else if (seen & 1u << FREE) { /* before Linux 3.14: as free(1) guessed then */
		uint64_t cache = b[BUFFERS] + b[CACHED] + b[RECLAIMABLE];

		m->mem_available = b[FREE] + (cache > b[SHMEM] ? cache - b[SHMEM] : 0);
	}
}

void cube_procfs_loadavg(struct cube_metric *m, const char *text, size_t n) {
	struct span s = span_of(text, n);
	uint32_t v[3];

	for (int i = 0; i < 3; i++) {
		skip_blanks(&s);
		if (!hundredths(&s, &v[i])) return;
	}
	m->load1 = v[0];
	m->load5 = v[1];
	m->load15 = v[2];
}

/* Devices that are made of others, of memory, or are no disks; what they do is counted where it
 * arrives. */
static bool is_virtual(struct span name) {
	static const char *const kinds[] = {"loop", "ram", "zram", "dm-",   "md",
					    "sr",   "fd",  "drbd", "bcache"};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		struct span s = name;

		if (skip_word(&s, kinds[i]) && s.p < s.end && (is_digit(*s.p) || *s.p == '_'))
			return true;
	}
	return false;
}

/* Partitions follow their disk: sda1 after sda, nvme0n1p1 after nvme0n1. (A lone xvda1, as some
 * clouds have it, counts as a disk.) */
static bool is_part_of(struct span name, struct span disk) {
	size_t n = (size_t)(disk.end - disk.p);

	if (n == 0 || (size_t)(name.end - name.p) <= n || memcmp(name.p, disk.p, n) != 0)
		return false;
	name.p += n;
	if (is_digit(disk.end[-1]) && *name.p++ != 'p') return false;
	if (name.p == name.end) return false;
	while (name.p < name.end && is_digit(*name.p)) name.p++;
	return name.p == name.end;
}

void cube_procfs_diskstats(struct cube_metric *m, const char *text, size_t n) {
	enum { READ_SECTORS = 2, WRITTEN_SECTORS = 6, FIELDS = 7 };
	struct span all = span_of(text, n), line, disk = {.p = NULL};
	uint64_t read = 0, written = 0, v[FIELDS];
	bool any = false;

	while (next_line(&all, &line)) {
		struct span name;

		if (numbers(&line, v, 2) != 2) continue; /* major, minor */
		skip_blanks(&line);
		name.p = line.p;
		if (!skip_field(&line)) continue;
		name.end = line.p;
		if (is_part_of(name, disk)) continue;
		if (numbers(&line, v, FIELDS) != FIELDS) continue;
		disk = name;
		any = true;
		if (is_virtual(name)) continue;
		read += v[READ_SECTORS] * 512;
		written += v[WRITTEN_SECTORS] * 512;
	}
	if (!any) return;
	m->disk_read = read;
	m->disk_written = written;
}

void cube_procfs_netdev(struct cube_metric *m, const char *text, size_t n) {
	enum { RECEIVED = 0, SENT = 8, FIELDS = 9 };
	struct span all = span_of(text, n), line;
	uint64_t received = 0, sent = 0, v[FIELDS];
	bool any = false;

	while (next_line(&all, &line)) {
		const char *colon = memchr(line.p, ':', (size_t)(line.end - line.p));
		bool lo;

		if (!colon) continue;
		skip_blanks(&line);
		lo = colon - line.p == 2 && memcmp(line.p, "lo", 2) == 0;
		line.p = colon + 1;
		if (numbers(&line, v, FIELDS) != FIELDS) continue;
		any = true;
		if (lo) continue;
		received += v[RECEIVED];
		sent += v[SENT];
	}
	if (!any) return;
	m->net_received = received;
	m->net_sent = sent;
}

void cube_procfs_uptime(struct cube_metric *m, const char *text, size_t n) {
	struct span s = span_of(text, n);
	uint64_t v;

	skip_blanks(&s);
	if (digits(&s, &v) && (at_word_end(&s) || *s.p == '.')) m->uptime_s = v;
}

uint32_t cube_procfs_pressure(const char *text, size_t n) {
	struct span all = span_of(text, n), line;
	uint32_t v;

	while (next_line(&all, &line))
		if (skip_word(&line, "some avg10="))
			return hundredths(&line, &v) ? v : CUBE_METRIC_NONE;
	return CUBE_METRIC_NONE;
}

/* A pid, or -1, which the kernel prints for the groups of a task that is going away. */
static bool pid_number(struct span *s, int *ret) {
	uint64_t v;
	bool negative;

	skip_blanks(s);
	negative = skip_word(s, "-");
	if (!digits(s, &v) || !at_word_end(s) || v > INT_MAX) return false;
	*ret = negative ? -(int)v : (int)v;
	return true;
}

bool cube_procfs_pid(struct cube_procfs_pid *ret, const char *text, size_t n) {
	enum { FIRST_SKIPPED = 7, START = 22 }; /* as proc(5) numbers the fields */
	const char *paren = n ? memrchr(text, ')', n) : NULL;
	struct span s;
	struct cube_procfs_pid pid;

	if (!paren || text + n - paren < 4 || paren[1] != ' ') return false;
	pid.state = paren[2];
	if (pid.state < 'A' || pid.state > 'z') return false;
	s = span_of(paren + 3, (size_t)(text + n - (paren + 3)));
	if (!at_word_end(&s)) return false;
	if (!pid_number(&s, &pid.ppid) || !pid_number(&s, &pid.pgrp) ||
	    !pid_number(&s, &pid.session))
		return false;
	for (int i = FIRST_SKIPPED; i < START; i++)
		if (!skip_field(&s)) return false;
	if (!number(&s, &pid.start)) return false;
	*ret = pid;
	return true;
}

bool cube_procfs_environ_has(const char *text, size_t n, const char *entry) {
	size_t want = strlen(entry);
	const char *end;

	if (want == 0 || n == 0) return false;
	for (end = text + n; text < end;) {
		size_t len = strnlen(text, (size_t)(end - text));

		if (len == want && memcmp(text, entry, want) == 0) return true;
		text += len;
		if (text < end) text++;
	}
	return false;
}
