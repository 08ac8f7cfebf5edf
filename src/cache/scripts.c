/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua that runs inside Redis. Every script declares the keys it touches, and those of one call share a hash slot
 * where they name a symbol. A failing PUBLISH (no permission) never undoes a write: it is called by pcall, last. */
#include "cache/scripts.h"

#define COMPARE                                                                                                        \
    "local function older(a, b)\n" /* is order a lower than order b? */                                                \
    "  for i = 1, 32 do\n"                                                                                             \
    "    local x, y = string.byte(a, i), string.byte(b, i)\n"                                                          \
    "    if x ~= y then return x < y end\n"                                                                            \
    "  end\n"                                                                                                          \
    "  return false\n"                                                                                                 \
    "end\n"                                                                                                            \
    "local function order_of(key)\n" /* nil: nothing there, or nothing of ours */                                      \
    "  local have = redis.pcall('GETRANGE', key, 0, 63)\n"                                                             \
    "  if type(have) == 'string' and #have == 64 and string.sub(have, 1, 3) == 'TLE' then\n"                           \
    "    return string.sub(have, 25, 56)\n"                                                                            \
    "  end\n"                                                                                                          \
    "end\n"

const struct tl_redis_script tl_cache_scripts[TL_CACHE_SCRIPTS] = {
    /* KEYS entry; ARGV bytes, milliseconds to live (0: for ever), channel, message ("": none).
     * 1: written; 0: a newer one is there. */
    [TL_SCRIPT_PUT] = {"put", COMPARE "local have = order_of(KEYS[1])\n"
                                      "if have and older(string.sub(ARGV[1], 25, 56), have) then return 0 end\n"
                                      "if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])\n"
                                      "else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end\n"
                                      "if ARGV[4] ~= '' then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end\n"
                                      "return 1\n"},
    /* KEYS entry; ARGV order ("": whatever is there). How many were deleted. */
    [TL_SCRIPT_DEL] = {"del", COMPARE "local have = order_of(KEYS[1])\n"
                                      "if have and ARGV[1] ~= '' and older(ARGV[1], have) then return 0 end\n"
                                      "return redis.call('DEL', KEYS[1])\n"},
    /* KEYS store, generations; ARGV id of my store ("": I have none), '1' to take the prefix over.
     * { store that owns the prefix ("": none), newest generation }. The first with a store owns it; id@ms after the
     * prefix was taken over, the time of it. */
    [TL_SCRIPT_HELLO] = {"hello",
                         "local owner = redis.call('GET', KEYS[1]) or ''\n"
                         "if ARGV[1] ~= '' and (owner == '' or ARGV[2] == '1') then\n"
                         "  if string.match(owner, '^[^@]*') ~= ARGV[1] then\n"
                         "    local time = redis.call('TIME')\n"
                         "    local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
                         "    owner = owner == '' and ARGV[1] or ARGV[1] .. '@' .. string.format('%.0f', now)\n"
                         "    redis.call('SET', KEYS[1], owner)\n"
                         "  end\n"
                         "end\n"
                         "return { owner, redis.call('HGET', KEYS[2], 'newest') or '0' }\n"},
    /* KEYS generations; ARGV the newest that Redis must know already, the newest after this, channel, message ("":
     * none), then scope, generation, ... Answers the newest: what was asked for when it was taken; otherwise nothing
     * was. */
    [TL_SCRIPT_MIRROR] =
        {"mirror", "local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or '0')\n"
                   "if newest ~= tonumber(ARGV[1]) then return string.format('%.0f', newest) end\n"
                   "for i = 5, #ARGV, 2 do\n"
                   "  local have = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0')\n"
                   "  if have < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end\n"
                   "end\n"
                   "redis.call('HSET', KEYS[1], 'newest', ARGV[2])\n"
                   "if ARGV[4] ~= '' then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end\n"
                   "return ARGV[2]\n"},
    /* KEYS generations; ARGV scope, at least, channel, message up to and behind the generation. The generation. */
    [TL_SCRIPT_ALLOCATE] = {"allocate", "local newest = tonumber(redis.call('HGET', KEYS[1], 'newest') or '0')\n"
                                        "local next = string.format('%.0f', math.max(newest + 1, tonumber(ARGV[2])))\n"
                                        "redis.call('HSET', KEYS[1], ARGV[1], next, 'newest', next)\n"
                                        "redis.pcall('PUBLISH', ARGV[3], ARGV[4] .. next .. ARGV[5])\n"
                                        "return next\n"},
    /* KEYS versions of a symbol; ARGV store, channel, message, then field, version of each. The first is raised, the
     * others where they are there already. 1: raised; 0: not higher; -1: of another store. */
    [TL_SCRIPT_VERSION] = {"version",
                           OWNER HIGHER "local raised = 0\n"
                                        "for i = 4, #ARGV, 2 do\n"
                                        "  local have = versions(KEYS[1], ARGV[1], ARGV[i])\n"
                                        "  if have == -1 then return -1 end\n"
                                        "  if (have or i == 4) and higher(ARGV[i + 1], have) then\n"
                                        "    redis.call('HSET', KEYS[1], 'store', ARGV[1], ARGV[i], ARGV[i + 1])\n"
                                        "    if i == 4 then raised = 1 end\n"
                                        "  end\n"
                                        "end\n"
                                        "if raised == 1 then redis.pcall('PUBLISH', ARGV[2], ARGV[3]) end\n"
                                        "return raised\n"},
    /* KEYS reports, seen; ARGV instance, report ("": none any more), milliseconds that it is believed. */
    [TL_SCRIPT_REPORT] = {"report",
                          "local time = redis.call('TIME')\n"
                          "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
                          "if ARGV[2] == '' then\n"
                          "  redis.call('ZREM', KEYS[2], ARGV[1])\n"
                          "  return redis.call('HDEL', KEYS[1], ARGV[1])\n"
                          "end\n"
                          "for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])) do\n"
                          "  redis.call('HDEL', KEYS[1], gone)\n"
                          "  redis.call('ZREM', KEYS[2], gone)\n"
                          "end\n"
                          "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])\n"
                          "redis.call('ZADD', KEYS[2], now, ARGV[1])\n"
                          "redis.call('PEXPIRE', KEYS[1], ARGV[3])\n"
                          "return redis.call('PEXPIRE', KEYS[2], ARGV[3])\n"},
    [TL_SCRIPT_ACQUIRE] = {"acquire", tl_script_acquire},
    [TL_SCRIPT_COMMIT] = {"commit", tl_script_commit},
    [TL_SCRIPT_HOLD] = {"hold", tl_script_hold},
};
