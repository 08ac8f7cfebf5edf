/* SPDX-License-Identifier: Apache-2.0 */
/* CRC32C (Castagnoli, RFC 3720 B.4; hardware where the CPU has it) and a 64-bit hash for tables. */
#ifndef TL_BASE_HASH_H
#define TL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* crc of what came before (0 to begin) continued over n bytes. */
uint32_t tl_crc32c(uint32_t crc, const void *p, size_t n);
/* The same by tables alone, as on a CPU without the instruction. */
uint32_t tl_crc32c_portable(uint32_t crc, const void *p, size_t n);
/* XXH3; not stable across releases, never stored. */
uint64_t tl_hash64(const void *p, size_t n);

#endif
