/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua of the events. All keys of one call share a slot and are declared. Each may be run again after a lost reply:
 * it then says what it said. Positions are compared as (epoch, seq), both below 2^53.
 *
 *   snap:{task/<id>}  owner, epoch (of the term); position (of the last event), life (of the last lifecycle event);
 *                     state (the envelope of the last event that bears a state); name, started
 *   ev:{task/<id>}    entries <epoch>-<seq>: e (the envelope), a (the life before it)
 *
 * Invariant: life is the last entry's id; the entries' `a` form a chain. A state is in the hash alone. */
#include "event/bus_i.h"

const struct tl_redis_script bus_scripts[BUS_SCRIPTS] = {
    /* KEYS ev, snap; ARGV owner, wanted epoch (0: give one out), name, now in ms, TTL in ms.
     * { 1, epoch, life, position }; { 0 }: a later term has begun. */
    [SCRIPT_TERM] =
        {"event term",
         "local h = redis.call('HMGET', KEYS[2], 'owner', 'epoch', 'life', 'position')\n"
         "local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)\n"
         "local last = top[1] and top[1][1] or '0-0'\n"
         "local life, position = h[3] or last, h[4] or last\n"
         "local function of(p) return tonumber(string.match(p, '^(%d+)-')) or 0 end\n"
         "local epoch, want = tonumber(h[2] or '0') or 0, tonumber(ARGV[2])\n"
         "local used = math.max(of(last), of(life), of(position))\n"
         "local mine = h[1] == ARGV[1]\n"
         "if not (mine and (want == 0 or want == epoch)) then\n"
         "  if want == 0 then\n"
         "    local time = redis.call('TIME')\n"
         "    local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)\n"
         "    epoch = math.max(math.max(epoch, used) + 1, now)\n"
         "  elseif want < used or (not mine and h[1] and want <= epoch) then\n"
         "    return { 0 }\n"
         "  else\n"
         "    epoch = want\n"
         "  end\n"
         "  redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'epoch', string.format('%.0f', epoch), 'life', life, "
         "'position', position, 'name', ARGV[3], 'started', ARGV[4])\n"
         "end\n"
         "redis.call('PEXPIRE', KEYS[2], ARGV[5])\n"
         "redis.call('PEXPIRE', KEYS[1], ARGV[5])\n"
         "return { 1, string.format('%.0f', epoch), life, position }\n"},
    /* KEYS ev, snap; ARGV owner, epoch, seq, the life before it, "L" (lifecycle) or "S", "1": bears the state, the
     * envelope, channel, entries kept, TTL in ms, the life that Redis should have (another one than the life before it
     * where Redis has lost what nobody can hand in again).
     * { 1 } written; { 2 } it was there; { 0 } something before it is not there; { -1 } fenced. */
    [SCRIPT_EVENT] =
        {"event",
         "local h = redis.call('HMGET', KEYS[2], 'owner', 'epoch', 'life', 'position')\n"
         "local epoch, seq = tonumber(ARGV[2]), tonumber(ARGV[3])\n"
         "local life = h[3] or '0-0'\n"
         "if h[2] and tonumber(h[2]) > epoch then return { -1 } end\n"
         "if not h[2] or tonumber(h[2]) < epoch then return { 0 } end\n"
         "if h[1] ~= ARGV[1] then return { -1 } end\n"
         "local id, lifecycle = ARGV[2] .. '-' .. ARGV[3], ARGV[5] == 'L'\n"
         "local e, s = string.match(lifecycle and life or h[4] or '0-0', '^(%d+)-(%d+)$')\n"
         "if e and tonumber(e) == epoch and tonumber(s) >= seq then return { 2 } end\n"
         "if life ~= ARGV[11] or (life ~= '0-0' and redis.call('EXISTS', KEYS[1]) == 0) then return { 0 } end\n"
         "if lifecycle then\n"
         "  local done = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[9], id, 'e', ARGV[7], 'a', ARGV[4])\n"
         "  if type(done) == 'table' and done.err then\n"
         "    if string.find(done.err, 'equal or smaller', 1, true) then return { -1 } end\n"
         "    return done\n"
         "  end\n"
         "  redis.call('HSET', KEYS[2], 'life', id)\n"
         "end\n"
         "redis.call('HSET', KEYS[2], 'position', id)\n"
         "if ARGV[6] == '1' then redis.call('HSET', KEYS[2], 'state', ARGV[7]) end\n"
         "redis.call('PEXPIRE', KEYS[2], ARGV[10])\n"
         "redis.call('PEXPIRE', KEYS[1], ARGV[10])\n"
         "redis.pcall('PUBLISH', ARGV[8], ARGV[7])\n"
         "return { 1 }\n"},
    /* KEYS ev, snap; ARGV from ("(<position>", "+": no entries), count.
     * { position, life, state, name, started, { id, envelope, life before, ... } }; nil: nothing is known. */
    [SCRIPT_READ] =
        {"event read",
         "local h = redis.call('HMGET', KEYS[2], 'position', 'life', 'state', 'name', 'started')\n"
         "if not h[1] then return false end\n"
         "local out = {}\n"
         "if ARGV[1] ~= '+' then\n"
         "  for _, row in ipairs(redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])) do\n"
         "    local e, a = '', '0-0'\n"
         "    for i = 1, #row[2], 2 do\n"
         "      if row[2][i] == 'e' then e = row[2][i + 1] elseif row[2][i] == 'a' then a = row[2][i + 1] end\n"
         "    end\n"
         "    out[#out + 1] = row[1]\n"
         "    out[#out + 1] = e\n"
         "    out[#out + 1] = a\n"
         "  end\n"
         "end\n"
         "return { h[1], h[2] or '0-0', h[3] or '', h[4] or '', h[5] or '0', out }\n"},
    /* KEYS index; ARGV id, started in ms, tasks kept, TTL in ms. */
    [SCRIPT_INDEX] = {"event index", "redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])\n"
                                     "redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))\n"
                                     "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"
                                     "return 1\n"},
    /* KEYS index; ARGV the last rank. The newest first: { id, started, ... } */
    [SCRIPT_TASKS] = {"event tasks", "return redis.call('ZRANGE', KEYS[1], 0, ARGV[1], 'REV', 'WITHSCORES')\n"},
};
