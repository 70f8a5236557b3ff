/* What the runtime and the agent call, most of which a freestanding compiler needs anyway, for the ARC compiler of Debian, which brings
 * no C library. The SDK's compiler has its own. */
#ifndef TINYOPS_HIMAX_STRING_H
#define TINYOPS_HIMAX_STRING_H

#include <stddef.h>

int memcmp(const void *one, const void *other, size_t len);
void *memcpy(void *to, const void *from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
size_t strlen(const char *text);

#endif
