/* SPDX-License-Identifier: Apache-2.0 */
/* The queue in Redis: a connection and the scripts that move a job from waiting to running to over, each in one step,
 * so that a job is always in exactly one place. A script whose reply was lost may be run again. A job that was taken
 * and whose taker died stays in {jobs}:running, where everybody finds it; the lease "job:<id>" says whether it is still
 * at it. Who has stood still beyond that is told so at its next step: another has the job (running), or it is over
 * (over). Knows nothing of what a job does. */
#include "job/jobs_i.h"

#include "base/err.h"
#include "base/util.h"

#include <stdio.h>

/* In Lua: the job ARGV[1] is over. */
#define NOTE_OVER                                                                                                      \
    "redis.call('HDEL', KEYS[2], ARGV[1])\n"                                                                           \
    "redis.call('SREM', KEYS[4], ARGV[1])\n"                                                                           \
    "redis.call('ZADD', KEYS[5], redis.call('TIME')[1], ARGV[1])\n"                                                    \
    "redis.call('ZREMRANGEBYRANK', KEYS[5], 0, -10001)\n"                                                              \
    "redis.call('PEXPIRE', KEYS[5], 172800000)\n"

/* KEYS queue, requests, running, cancel, over. */
static const struct tl_redis_script scripts[JOBS_SCRIPTS] = {
    /* KEYS and perhaps the claim; ARGV id, record, most that may wait, instance. 1: it waits (or is known already), and
     * the claim is its for good; 0: too many wait; 2: another has the claim. */
    [JOBS_POST] = {"job-post", "if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 1 end\n"
                               "if redis.call('ZSCORE', KEYS[5], ARGV[1]) then return 1 end\n"
                               "local have = KEYS[6] and redis.call('GET', KEYS[6])\n"
                               "if have and have ~= 'by ' .. ARGV[4] then return 2 end\n"
                               "if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end\n"
                               "redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])\n"
                               "redis.call('RPUSH', KEYS[1], ARGV[1])\n"
                               "if KEYS[6] then redis.call('SET', KEYS[6], ARGV[1], 'PX', 172800000) end\n"
                               "return 1\n"},
    /* ARGV instance. { id, record, 1 if it is to end, 0 } the next one, which is the instance's now; or
     * { id, record, to end, 1, ... } those that others run, at most 16. */
    [JOBS_TAKE] = {"job-take", "while true do\n"
                               "  local id = redis.call('LPOP', KEYS[1])\n"
                               "  if not id then break end\n"
                               "  local rec = redis.call('HGET', KEYS[2], id)\n"
                               "  if rec then\n"
                               "    redis.call('HSET', KEYS[3], id, ARGV[1])\n"
                               "    return { id, rec, redis.call('SISMEMBER', KEYS[4], id), 0 }\n"
                               "  end\n"
                               "end\n"
                               "local out = {}\n"
                               "for _, id in ipairs(redis.call('HKEYS', KEYS[3])) do\n"
                               "  local rec = redis.call('HGET', KEYS[2], id)\n"
                               "  local over = redis.call('ZSCORE', KEYS[5], id)\n"
                               "  if over then redis.call('HDEL', KEYS[2], id) end\n"
                               "  if over or not rec then\n"
                               "    redis.call('HDEL', KEYS[3], id)\n"
                               "  elseif #out < 64 then\n"
                               "    out[#out + 1] = id\n"
                               "    out[#out + 1] = rec\n"
                               "    out[#out + 1] = redis.call('SISMEMBER', KEYS[4], id)\n"
                               "    out[#out + 1] = 1\n"
                               "  end\n"
                               "end\n"
                               "return out\n"},
    /* ARGV id, record, instance, 1: it was just taken over. 0: go on; 1: it is to end; 2: it is over already, or
     * another's. What Redis has lost of a job that runs is there again afterwards. */
    [JOBS_STEP] = {"job-step", "if redis.call('ZSCORE', KEYS[5], ARGV[1]) then return 2 end\n"
                               "if ARGV[4] == '1' then\n"
                               "  if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 2 end\n"
                               "else\n"
                               "  local owner = redis.call('HGET', KEYS[3], ARGV[1])\n"
                               "  if owner and owner ~= ARGV[3] then return 2 end\n"
                               "end\n"
                               "redis.call('LREM', KEYS[1], 0, ARGV[1])\n"
                               "redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])\n"
                               "redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])\n"
                               "return redis.call('SISMEMBER', KEYS[4], ARGV[1])\n"},
    /* ARGV id, record, instance. Back to the front, unless it is another's by now. */
    [JOBS_BACK] = {"job-back", "if redis.call('ZSCORE', KEYS[5], ARGV[1]) then return 0 end\n"
                               "local owner = redis.call('HGET', KEYS[3], ARGV[1])\n"
                               "if owner and owner ~= ARGV[3] then return 0 end\n"
                               "redis.call('HDEL', KEYS[3], ARGV[1])\n"
                               "redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])\n"
                               "redis.call('LREM', KEYS[1], 0, ARGV[1])\n"
                               "redis.call('LPUSH', KEYS[1], ARGV[1])\n"
                               "return 1\n"},
    /* ARGV id, instance ("": whoever has it). 0: another has it. */
    [JOBS_OVER] = {"job-over", "local owner = redis.call('HGET', KEYS[3], ARGV[1])\n"
                               "if owner and ARGV[2] ~= '' and owner ~= ARGV[2] then return 0 end\n"
                               "redis.call('LREM', KEYS[1], 0, ARGV[1])\n"
                               "redis.call('HDEL', KEYS[3], ARGV[1])\n" NOTE_OVER "return 1\n"},
    /* ARGV id. { 2, record }: it waited, and does not any more; { 1 }: who runs it will see; { 0 }: not known. */
    [JOBS_CANCEL] = {"job-cancel", "local rec = redis.call('HGET', KEYS[2], ARGV[1])\n"
                                   "if not rec then return { 0 } end\n"
                                   "if redis.call('LREM', KEYS[1], 0, ARGV[1]) > 0 then\n"
                                   "" NOTE_OVER "return { 2, rec }\n"
                                   "end\n"
                                   "redis.call('SADD', KEYS[4], ARGV[1])\n"
                                   "return { 1 }\n"},
    /* KEYS and the claim; ARGV instance. { 1 }: it is mine for half a minute; { 0, who or what has it, ms left }. */
    [JOBS_CLAIM] = {"job-claim", "local mine = 'by ' .. ARGV[1]\n"
                                 "local have = redis.call('GET', KEYS[6])\n"
                                 "if have and have ~= mine then\n"
                                 "  return { 0, have, redis.call('PTTL', KEYS[6]) }\n"
                                 "end\n"
                                 "redis.call('SET', KEYS[6], mine, 'PX', 30000)\n"
                                 "return { 1 }\n"},
};

bool tl_jobs_redis_up(const struct tl_jobs *jobs)
{
    return jobs->redis && tl_redis_up(jobs->redis);
}

static void on_state(void *ctx, bool up, const struct tl_err *why)
{
    (void)why; /* the cache says it */
    if (up) tl_jobs_look(ctx);
}

enum tl_status tl_jobs_queue_open(struct tl_jobs *jobs, const char *url, struct tl_err *err)
{
    static const char *const names[JOBS_KEYS] = {"queue", "requests", "running", "cancel", "over"};
    for (size_t i = 0; i < JOBS_KEYS; i++) snprintf(jobs->keys[i], JOBS_KEY_MAX, "%s{jobs}:%s", jobs->prefix, names[i]);
    struct tl_redis_options o = {.client_name = "tierline-jobs",
                                 .scripts = scripts,
                                 .n_scripts = JOBS_SCRIPTS,
                                 .queue_bytes = 16u << 20,
                                 .clock = jobs->clock,
                                 .on_state = on_state,
                                 .ctx = jobs};
    enum tl_status st = tl_redis_address_parse(url, &o.address, err);
    return st == TL_OK ? tl_redis_start(jobs->loop, &o, &jobs->redis, err) : st;
}

static void on_reply(struct tl_redis_cmd *cmd, enum tl_status status, const struct tl_reply *reply,
                     const struct tl_err *err)
{
    struct jobs_ask *ask = cmd->user;
    struct tl_jobs *jobs = ask->jobs;
    if (ask->cb) ask->cb(ask->user, status, reply, err);
    tl_buf_release(&ask->text);
    free(ask);
    tl_jobs_part(jobs);
}

static void arg(struct jobs_ask *ask, const char *text)
{
    TL_ASSERT(ask->argc < JOBS_ARGS_MAX);
    ask->argv[ask->argc++] = tl_str(text);
}

static void set_args(struct jobs_ask *ask, enum jobs_script script, const char *key)
{
    struct tl_jobs *jobs = ask->jobs;
    bool claim = key && (script == JOBS_CLAIM || script == JOBS_POST);
    arg(ask, claim ? "6" : "5");
    for (size_t i = 0; i < JOBS_KEYS; i++) arg(ask, jobs->keys[i]);
    if (claim) {
        snprintf(ask->key, sizeof ask->key, "%s{jobs}:schedule:%s", jobs->prefix, key);
        arg(ask, ask->key);
    }
    if (script == JOBS_TAKE || script == JOBS_CLAIM) arg(ask, jobs->instance);
    if (script != JOBS_TAKE && script != JOBS_CLAIM) arg(ask, ask->id);
    if (script == JOBS_POST || script == JOBS_STEP || script == JOBS_BACK)
        ask->argv[ask->argc++] = tl_buf_str(&ask->text);
    if (script == JOBS_POST) {
        snprintf(ask->number, sizeof ask->number, "%zu", jobs->queue_max);
        arg(ask, ask->number);
        arg(ask, jobs->instance);
    }
    if (script == JOBS_STEP || script == JOBS_BACK) arg(ask, jobs->instance);
    if (script == JOBS_STEP) arg(ask, key ? "1" : "0");
    if (script == JOBS_OVER) arg(ask, key ? key : jobs->instance);
}

enum tl_status tl_jobs_ask(struct tl_jobs *jobs, enum jobs_script script, const char *id,
                           const struct tl_job_record *rec, const char *key, uint64_t timeout_ms, jobs_ask_cb *cb,
                           void *user)
{
    bool ends = script == JOBS_STEP || script == JOBS_BACK || script == JOBS_OVER; /* the job that closing waits for */
    if (!jobs->redis || jobs->ended || (jobs->closing && !ends)) return TL_IO;
    struct jobs_ask *ask = tl_calloc(1, sizeof *ask);
    if (!ask) return TL_NOMEM;
    *ask = (struct jobs_ask){.jobs = jobs, .cb = cb, .user = user};
    tl_buf_init(&ask->text, TL_JOB_RECORD_MAX);
    snprintf(ask->id, sizeof ask->id, "%s", id);
    if (rec) tl_job_record_json(&ask->text, rec);
    enum tl_status st = tl_buf_status(&ask->text, NULL);
    if (st == TL_OK) {
        set_args(ask, script, key);
        ask->cmd = (struct tl_redis_cmd){.argv = ask->argv, .argc = ask->argc, .cb = on_reply, .user = ask};
        st = tl_redis_eval(jobs->redis, &ask->cmd, script, timeout_ms, NULL);
    }
    if (st != TL_OK) {
        tl_buf_release(&ask->text);
        free(ask);
        return st;
    }
    jobs->open++;
    return TL_OK;
}
