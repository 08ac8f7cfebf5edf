/* SPDX-License-Identifier: Apache-2.0 */
/* What several scripts have in common. */
#ifndef TL_CACHE_SCRIPTS_H
#define TL_CACHE_SCRIPTS_H

#include "cache/tiers.h"

/* versions(ver, store, field): the version under the field, false: none; -1: they are another store's than the asker's
 * ("id", "id@ms" after the prefix was taken over). Versions of a store that has lost the prefix since are dropped. */
#define OWNER                                                                                                          \
    "local function versions(ver, mine, field)\n"                                                                      \
    "  local both = redis.call('HMGET', ver, 'store', field)\n"                                                        \
    "  local store = both[1]\n"                                                                                        \
    "  if not store or store == mine then return both[2] end\n"                                                        \
    "  local id, since = string.match(store, '^([^@]*)@?(%d*)$')\n"                                                    \
    "  local my_id, my_since = string.match(mine, '^([^@]*)@?(%d*)$')\n"                                               \
    "  if (tonumber(my_since) or 0) > (tonumber(since) or 0) then\n"                                                   \
    "    redis.call('DEL', ver)\n"                                                                                     \
    "    return false\n"                                                                                               \
    "  end\n"                                                                                                          \
    "  return id == my_id and both[2] or id ~= my_id and -1\n"                                                         \
    "end\n"

/* parts(version): revision, bars, last_ts; nil when it is none. higher(v, w): is v above w? */
#define HIGHER                                                                                                         \
    "local function parts(v)\n"                                                                                        \
    "  local r, b, t = string.match(v or '', '^(%-?%d+):(%-?%d+):(%-?%d+)$')\n"                                        \
    "  return tonumber(r), tonumber(b), tonumber(t)\n"                                                                 \
    "end\n"                                                                                                            \
    "local function higher(v, w)\n" /* is version v above w? */                                                        \
    "  local r, b, t = parts(v)\n"                                                                                     \
    "  local R, B, T = parts(w)\n"                                                                                     \
    "  if not r then return false end\n"                                                                               \
    "  if not R then return true end\n"                                                                                \
    "  return r > R or r == R and (b > B or b == B and t > T)\n"                                                       \
    "end\n"

#endif
