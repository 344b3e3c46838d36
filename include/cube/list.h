/* Intrusive doubly linked list with a head node, as in the Linux kernel and libuv.
 * Safe: removing an element that is not linked does nothing. */
#ifndef CUBE_LIST_H
#define CUBE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct cube_list {
	struct cube_list *prev, *next; /* both NULL, or both itself, while not linked */
};

#define cube_container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void cube_list_init(struct cube_list *head) {
	head->prev = head->next = head;
}
static inline bool cube_list_empty(const struct cube_list *head) {
	return !head->next || head->next == head;
}
static inline bool cube_list_linked(const struct cube_list *l) {
	return l->next && l->next != l;
}
static inline void cube_list_insert(struct cube_list *prev, struct cube_list *l) {
	l->prev = prev;
	l->next = prev->next;
	prev->next->prev = l;
	prev->next = l;
}
static inline void cube_list_push(struct cube_list *head, struct cube_list *l) { /* at the front */
	cube_list_insert(head, l);
}
static inline void cube_list_append(struct cube_list *head, struct cube_list *l) { /* at the end */
	cube_list_insert(head->prev, l);
}
static inline void cube_list_remove(struct cube_list *l) {
	if (!cube_list_linked(l)) return;
	l->prev->next = l->next;
	l->next->prev = l->prev;
	l->prev = l->next = NULL;
}

/* All of from goes to `to`, which is made with it: a list to be gone through although whoever is
 * met there removes others, or adds some to from. */
static inline void cube_list_move(struct cube_list *to, struct cube_list *from) {
	cube_list_init(to);
	if (cube_list_empty(from)) return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	cube_list_init(from);
}

/* Iterate; the element at hand may be removed and freed in the body. break and continue work:
 * it##_b stays set when the body was left by break. */
#define cube_list_each(head, it, type, member)                                                \
	for (struct cube_list *it##_l = (head)->next, *it##_n = it##_l ? it##_l->next : NULL, \
			      *it##_b = NULL;                                                 \
	     !it##_b && it##_l && it##_l != (head);                                           \
	     it##_l = it##_b ? NULL : it##_n, it##_n = it##_l ? it##_l->next : NULL)          \
		for (type *it = (it##_b = it##_l, cube_container(it##_l, type, member)); it;  \
		     it = NULL, it##_b = NULL)

#endif
