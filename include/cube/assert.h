/* assert() for bugs, on in every build. libc's brings its printf along, which the worker does
 * without. */
#ifndef CUBE_ASSERT_H
#define CUBE_ASSERT_H

#define cube_assert(truth) ((truth) ? (void)0 : cube_assert_failed(#truth, __FILE__, __LINE__))

_Noreturn void cube_assert_failed(const char *truth, const char *file, int line);

#endif
