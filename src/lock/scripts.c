/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua of the leases. All keys of one name share a hash slot. A script whose reply was lost may be run again: it
 * then says what it said. */
#include "lock/locks.h"

/* Of one that was taken up the owner is told with its token. */
#define MINE "have and (have == ARGV[1] or string.sub(have, 1, #ARGV[1] + 1) == ARGV[1] .. ':')"

const struct tl_redis_script tl_lock_scripts[TL_LOCK_SCRIPTS] = {
    /* KEYS lock, fence, and wait if I wait; ARGV owner (instance:nonce), ttl in ms.
     * { 1, token } granted; { 0, ms left } another holds it. Who waits keeps its place when it asks again. */
    [TL_LOCK_ACQUIRE] =
        {"lease", "local time = redis.call('TIME')\n"
                  "local token = time[1] .. string.sub('00000' .. time[2], -6)\n"
                  "if redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'NX', 'PX', ARGV[2]) then\n"
                  "  local last = redis.call('SET', KEYS[2], token, 'GET')\n"
                  "  if last and (#last > #token or #last == #token and last >= token) then\n" /* a clock set back */
                  "    token = string.format('%.0f', (tonumber(last) or 0) + 1)\n"
                  "    redis.call('SET', KEYS[2], token)\n"
                  "    redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'PX', ARGV[2])\n"
                  "  end\n"
                  "  if KEYS[3] then redis.call('ZREM', KEYS[3], ARGV[1]) end\n"
                  "  return { 1, token }\n"
                  "end\n"
                  "local have = redis.call('GET', KEYS[1])\n"
                  "if string.sub(have, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then\n"
                  "  redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                  "  if KEYS[3] then redis.call('ZREM', KEYS[3], ARGV[1]) end\n"
                  "  return { 1, string.sub(have, #ARGV[1] + 2) }\n"
                  "end\n"
                  "if KEYS[3] then\n"
                  "  redis.call('ZADD', KEYS[3], 'NX', token, ARGV[1])\n"
                  "  redis.call('PEXPIRE', KEYS[3], 60000)\n"
                  "end\n"
                  "return { 0, tostring(math.max(redis.call('PTTL', KEYS[1]), 0)) }\n"},
    /* KEYS lock; ARGV owner, ttl. 1: renewed; 0: it is not the owner's any more. */
    [TL_LOCK_RENEW] = {"renew", "local have = redis.call('GET', KEYS[1])\n"
                                "if not (" MINE ") then return 0 end\n"
                                "return redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"},
    /* KEYS lock, wait; ARGV owner, channel. 1: released; 0: it was not the owner's, who does not wait for it either any
     * more. The first who waits is told, and the second beside it, who keeps its place: the first may be dead. */
    [TL_LOCK_RELEASE] =
        {"release",
         "local have = redis.call('GET', KEYS[1])\n"
         "if not (" MINE ") then\n"
         "  redis.call('ZREM', KEYS[2], ARGV[1])\n"
         "  return 0\n"
         "end\n"
         "redis.call('DEL', KEYS[1])\n"
         "local first = redis.call('ZPOPMIN', KEYS[2])[1]\n"
         "if not first then return 1 end\n"
         "local second = redis.call('ZRANGE', KEYS[2], 0, 0)[1]\n"
         "redis.pcall('PUBLISH', ARGV[2], '{\"specversion\":\"1.0\",\"id\":\"' .. ARGV[1] .. "
         "'\",\"source\":\"/tierline\",\"type\":\"lease.released.v1\",\"subject\":\"locks\",\"data\":{\"name\":\"' .. "
         "string.match(KEYS[1], '{(.*)}') .. '\",\"next\":[\"' .. first .. (second and '\",\"' .. second or '') .. "
         "'\"]}}')\n"
         "return 1\n"},
};
