/* SPDX-License-Identifier: Apache-2.0 */
/* The Lua of "check, lock, check, compute": what one process asks for and hands in for several keys of one symbol, each
 * in one exchange. Every script may be run twice with the same arguments, since a reply may be lost: it then says what
 * it said. All keys of a call share a hash slot.
 *
 *   entry    as the tier keeps it (header, payload)
 *   lock:... instance:nonce:token, expires with the lease
 *   fail:... status|attempts|until in ms, 0: as long as it is there|version, *: any|generation|text
 *   wait:... somebody waits for the end of the lease; 60 s
 *   fence:{SYMBOL}  the last token given out; stays
 *   ver:{SYMBOL}    freq:adjust -> revision:bars:last_ts, and the store they are from; stays */
#include "cache/scripts.h"

#define COMMON                                                                                                         \
    "local function older(a, b)\n" /* of as many bytes, 8, 22 or 32: is a lower? Lua's < follows the locale */         \
    "  if a == b then return false end\n"                                                                              \
    "  local f = #a == 32 and '>I4I4I4I4I4I4I4I4' or #a == 22 and '>I4I4I4I4I4I2' or '>I4I4'\n"                        \
    "  local a1, a2, a3, a4, a5, a6, a7, a8 = struct.unpack(f, a)\n"                                                   \
    "  local b1, b2, b3, b4, b5, b6, b7, b8 = struct.unpack(f, b)\n"                                                   \
    "  if a1 ~= b1 then return a1 < b1 end\n"                                                                          \
    "  if a2 ~= b2 then return a2 < b2 end\n"                                                                          \
    "  if #a == 8 then return false end\n"                                                                             \
    "  if a3 ~= b3 then return a3 < b3 end\n"                                                                          \
    "  if a4 ~= b4 then return a4 < b4 end\n"                                                                          \
    "  if a5 ~= b5 then return a5 < b5 end\n"                                                                          \
    "  if a6 ~= b6 then return a6 < b6 end\n"                                                                          \
    "  if #a == 22 then return false end\n"                                                                            \
    "  if a7 ~= b7 then return a7 < b7 end\n"                                                                          \
    "  return a8 < b8\n"                                                                                               \
    "end\n"                                                                                                            \
    "local function head_of(key)\n" /* nil: nothing there, or nothing of ours */                                       \
    "  local h = redis.pcall('GETRANGE', key, 0, 63)\n"                                                                \
    "  if type(h) == 'string' and #h == 64 and string.sub(h, 1, 3) == 'TLE' then return h end\n"                       \
    "end\n"

/* KEYS fence, ver, then entry, lock, fail, wait of each; ARGV store, field ("": no versions), version, owner
 * (instance:nonce:), lease in ms, now in ms, inline bytes at most, "1": what will not do is wanted, too, then of each
 * the lowest order (its first bytes) and generation that will do. { "STORE", id }: the versions are another store's; {
 * "OLDER", version }: there is a newer version than the asker's; { "OK", answer, ... } of each { 1, bytes ("": too
 * many) } HIT, { 2, token, old bytes } GRANTED, { 3, record } FAILED, { 4, ms left, old bytes } BUSY. */
const char tl_script_acquire[] = COMMON OWNER HIGHER
    "if ARGV[2] ~= '' then\n"
    "  local have = versions(KEYS[2], ARGV[1], ARGV[2])\n"
    "  if have == -1 then return { 'STORE', redis.call('HGET', KEYS[2], 'store') } end\n"
    "  if have ~= ARGV[3] then\n"
    "    if have and higher(have, ARGV[3]) then return { 'OLDER', have } end\n"
    "    redis.call('HSET', KEYS[2], 'store', ARGV[1], ARGV[2], ARGV[3])\n"
    "  end\n"
    "end\n"
    "local token\n"
    "local function next_token()\n"
    "  if token then return token end\n"
    "  local time = redis.call('TIME')\n"
    "  token = time[1] .. string.sub('00000' .. time[2], -6)\n"
    "  local last = redis.call('SET', KEYS[1], token, 'GET')\n"
    "  if last and (#last > #token or #last == #token and last >= token) then\n"
    "    token = string.format('%.0f', (tonumber(last) or 0) + 1)\n"
    "    redis.call('SET', KEYS[1], token)\n"
    "  end\n"
    "  return token\n"
    "end\n"
    "local function good(h, least, generation)\n"
    "  local lo, hi = struct.unpack('<I4I4', h, 17)\n"
    "  if hi * 4294967296 + lo < generation or older(string.sub(h, 25, 24 + #least), least) then return false end\n"
    "  if string.byte(h, 5) ~= 0 then return true end\n"
    "  local soft = struct.unpack('<I4', h, 57)\n"
    "  if soft == 4294967295 then return true end\n"
    "  local high, low = struct.unpack('>I4I4', h, 25)\n"
    "  return (high - 2147483648) * 4294967296 + low + soft > tonumber(ARGV[6])\n"
    "end\n"
    "local function failed(record, generation)\n"
    "  local till, version, stamped = string.match(record, '^%-?%d+|%d+|(%d+)|([^|]*)|(%d+)|')\n"
    "  if not till or tonumber(stamped) < generation then return false end\n"
    "  if version ~= '*' and version ~= ARGV[3] then return false end\n"
    "  local time = till ~= '0' and redis.call('TIME')\n"
    "  return not time or tonumber(till) > time[1] * 1000 + time[2] / 1000\n"
    "end\n"
    "local answers = { 'OK' }\n"
    "for i = 0, (#KEYS - 2) / 4 - 1 do\n"
    "  local entry, lock = KEYS[4 * i + 3], KEYS[4 * i + 4]\n"
    "  local h, answer = head_of(entry), nil\n"
    "  if h and good(h, ARGV[2 * i + 9], tonumber(ARGV[2 * i + 10])) then\n"
    "    local n = redis.call('STRLEN', entry)\n"
    "    answer = { 1, n <= tonumber(ARGV[7]) and redis.call('GET', entry) or '' }\n"
    "  else\n"
    "    local both = redis.call('MGET', lock, KEYS[4 * i + 5])\n"
    "    local holder, record = both[1], both[2]\n"
    "    local wanted = h and ARGV[8] ~= '' and redis.call('STRLEN', entry) <= tonumber(ARGV[7])\n"
    "    local old = wanted and redis.call('GET', entry) or ''\n"
    "    if not holder and not (record and failed(record, tonumber(ARGV[2 * i + 10]))) then\n"
    "      redis.call('SET', lock, ARGV[4] .. next_token(), 'PX', ARGV[5])\n"
    "      answer = { 2, token, old }\n"
    "    elseif not holder then\n"
    "      answer = { 3, record }\n"
    "    elseif string.sub(holder, 1, #ARGV[4]) == ARGV[4] then\n"
    "      redis.call('PEXPIRE', lock, ARGV[5])\n"
    "      answer = { 2, string.sub(holder, #ARGV[4] + 1), old }\n"
    "    else\n"
    "      redis.call('SET', KEYS[4 * i + 6], 1, 'PX', 60000)\n"
    "      answer = { 4, redis.call('PTTL', lock), old }\n"
    "    end\n"
    "  end\n"
    "  answers[i + 2] = answer\n"
    "end\n"
    "return answers\n";

/* KEYS as above; ARGV store, field, version, owner, channel of results, channel of updates, bytes to be published at
 * most, head of the messages, bytes of the prefix, then of each verb, bytes, ms to live, announcement ("": none).
 * Verbs: V  a value: written if the lease is still the owner's and nothing higher is there F  a failure, bytes:
 * status|name|mode|generation|text; mode fixed, version or milliseconds of the first backoff R  neither: the lease is
 * given back T  written without a lease unless something higher is there; its other keys are not used Of each: 1 done,
 * 2 FENCED: the lease is not the owner's, 3 SUPERSEDED by a revision, 4 something higher is there, 5 done, and bars
 * were appended since. */
const char tl_script_commit[] = COMMON OWNER HIGHER
    "local superseded, partial = false, false\n"
    "if ARGV[2] ~= '' then\n"
    "  local have = versions(KEYS[2], ARGV[1], ARGV[2])\n"
    "  if have == -1 then\n"
    "    superseded = true\n"
    "  elseif have ~= ARGV[3] then\n"
    "    local r, R = parts(have), parts(ARGV[3])\n"
    "    superseded = r and r > R\n"
    "    partial = not superseded and higher(have, ARGV[3])\n"
    "    if not superseded and not partial then\n"
    "      redis.call('HSET', KEYS[2], 'store', ARGV[1], ARGV[2], ARGV[3])\n"
    "    end\n"
    "  end\n"
    "end\n"
    "local messages, announcements = {}, {}\n"
    "local function tell(at, how, more, bytes)\n" /* who waits */
    "  local key = string.sub(KEYS[at], ARGV[9] + 1)\n"
    "  local symbol, freq, spec = string.match(key, '^calc:{(.-)}:(.-):.-:(.*)$')\n"
    "  local subject = symbol and 'indicator/' .. symbol .. '/' .. freq .. '/' .. spec or 'cache'\n"
    "  local inline = #bytes > 0 and #bytes <= tonumber(ARGV[7]) and '\\n' .. bytes or ''\n"
    "  messages[#messages + 1] = ARGV[8] .. 'calc.' .. how .. '.v1\",\"subject\":' .. cjson.encode(subject) .. "
    "',\"data\":{\"key\":' .. cjson.encode(key) .. ',\"version\":\"' .. ARGV[3] .. '\"' .. more .. '}}' .. inline\n"
    "end\n"
    "local function fail_with(fail, bytes)\n"
    "  local status, name, mode, rest = string.match(bytes, '^([^|]*)|([^|]*)|([^|]*)|(.*)$')\n"
    "  local before = string.match(redis.call('GET', fail) or '', '^%-?%d+|(%d+)|')\n"
    "  local attempts, till, life = (tonumber(before) or 0) + 1, 0, 86400000\n"
    "  local backoff = tonumber(mode)\n"
    "  if backoff then\n"
    "    local time = redis.call('TIME')\n"
    "    local delay = math.min(backoff * 2 ^ math.min(attempts - 1, 20), 60000)\n"
    "    till = math.floor(time[1] * 1000 + time[2] / 1000 + delay)\n"
    "    life = math.floor(2 * delay) + 60000\n"
    "  end\n"
    "  local version = mode == 'fixed' and '*' or ARGV[3]\n"
    "  redis.call('SET', fail, string.format('%s|%d|%.0f|%s|%s', status, attempts, till, version, rest), 'PX', life)\n"
    "  return ',\"number\":' .. status .. ',\"status\":\"' .. name .. '\",\"reason\":' .. "
    "cjson.encode(string.match(rest, '|(.*)$') or '')\n"
    "end\n"
    "local answers = {}\n"
    "for i = 0, (#KEYS - 2) / 4 - 1 do\n"
    "  local at, a = 4 * i + 3, 4 * i + 10\n"
    "  local entry, lock = KEYS[at], KEYS[at + 1]\n"
    "  local verb, bytes, life = ARGV[a], ARGV[a + 1], ARGV[a + 2]\n"
    "  local h = (verb == 'V' or verb == 'T') and head_of(entry)\n"
    "  local both = verb ~= 'T' and redis.call('MGET', lock, KEYS[at + 3]) or { false, false }\n"
    "  local holder, waits = both[1], both[2]\n"
    "  local mine = holder and string.sub(holder, 1, #ARGV[4]) == ARGV[4]\n"
    "  local answer\n"
    "  if verb == 'V' and not mine and h and string.sub(h, 25, 56) == string.sub(bytes, 25, 56) then\n"
    "    answer = partial and 5 or 1\n" /* by the call whose reply was lost */
    "  elseif verb ~= 'T' and not mine then\n"
    "    answer = 2\n"
    "  elseif superseded and verb ~= 'R' then\n"
    "    answer = 3\n"
    "  elseif h and older(string.sub(bytes, 25, 56), string.sub(h, 25, 56)) then\n"
    "    answer = 4\n"
    "  else\n"
    "    answer = partial and verb ~= 'R' and 5 or 1\n"
    "  end\n"
    "  if answer == 1 or answer == 5 then\n"
    "    if verb == 'V' or verb == 'T' then\n"
    "      if life == '0' then redis.call('SET', entry, bytes) else redis.call('SET', entry, bytes, 'PX', life) end\n"
    "      if ARGV[a + 3] ~= '' then announcements[#announcements + 1] = ARGV[a + 3] end\n"
    "    end\n"
    "    if verb == 'V' and mine then\n"
    "      redis.call('DEL', lock, KEYS[at + 2], KEYS[at + 3])\n"
    "      if waits then tell(at, 'done', '', bytes) end\n"
    "    elseif verb == 'F' then\n"
    "      local more = fail_with(KEYS[at + 2], bytes)\n"
    "      redis.call('DEL', lock, KEYS[at + 3])\n"
    "      if waits then tell(at, 'failed', more, '') end\n"
    "    end\n"
    "  end\n"
    "  if mine and (verb == 'R' or answer == 3 or answer == 4) then\n"
    "    redis.call('DEL', lock, KEYS[at + 3])\n"
    "    if waits then tell(at, 'retry', '', '') end\n"
    "  end\n"
    "  answers[i + 1] = answer\n"
    "end\n"
    "for _, m in ipairs(announcements) do redis.pcall('PUBLISH', ARGV[6], m) end\n"
    "for _, m in ipairs(messages) do redis.pcall('PUBLISH', ARGV[5], m) end\n"
    "return answers\n";

/* KEYS locks; ARGV owner, lease in ms. Of each 1: it is the owner's, and is renewed; 0: it is not. */
const char tl_script_hold[] = "local answers = {}\n"
                              "for i, lock in ipairs(KEYS) do\n"
                              "  local holder = redis.call('GET', lock)\n"
                              "  local mine = holder and string.sub(holder, 1, #ARGV[1]) == ARGV[1]\n"
                              "  answers[i] = mine and redis.call('PEXPIRE', lock, ARGV[2]) or 0\n"
                              "end\n"
                              "return answers\n";
