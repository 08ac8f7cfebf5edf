/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the bus. Everything belongs to the loop thread of its cache.
 *
 *   bus.c      opening, closing, statistics; the connections' owners
 *   topic.c    topics: what is known of them, the events kept in memory, accepting an event
 *   deliver.c  subscriptions: who gets what, in which order
 *   publish.c  the publishing end of a task: terms, positions, rate limits, heartbeat
 *   handin.c   its queue to Redis
 *   remote.c   messages from Redis, connections that come and go
 *   read.c     reading a task from Redis: repairing gaps, serving those who resume
 *   tasks.c    the tasks that are known: list, index, stalled ones
 *   archive.c  the cache's tiers: what is left of a task when Redis has let go of it
 *   history.c  asking for events
 *   control.c  telling a publisher something
 *
 * Words. Accepting: the event is the next of its topic here; it gets a number, becomes what is known, and is queued for
 * the subscribers. Life: the position of the last lifecycle event. A lifecycle event in Redis names the life before it,
 * so a chain of them without a hole is complete, whatever became of the states in between. */
#ifndef TL_EVENT_BUS_I_H
#define TL_EVENT_BUS_I_H

#include "aio/alarms.h"
#include "base/buf.h"
#include "base/map.h"
#include "event/bus.h"
#include "event/types.h"
#include "redis/redis.h"

enum {
    TASK_ID_MAX = 100,
    PACE_MS = 100,        /* between two states of a task */
    BEAT_MS = 2000,       /* a state at least that often */
    EARLY_MAX = 1000,     /* events that wait for the epoch */
    IN_FLIGHT = 32,       /* hand-ins of a task under way at once */
    QUEUE_EVENTS = 65536, /* of a bus, not yet in Redis */
    QUEUE_BYTES = 16 << 20,
    KEPT_BYTES = 16 << 20,   /* of a task's lifecycle events, for handing in again */
    RINGS_BYTES = 64 << 20,  /* of all topics nobody subscribes to */
    BACKLOG_MAX = 4096,      /* messages that wait for a read */
    READ_PAGE = 500,         /* events of one reply */
    READ_BYTES = 32 << 20,   /* of one read */
    LINGER_MS = 600000,      /* an ended task is handed in again that long */
    LINGER_WATCH_MS = 30000, /* and looked after that long */
    LINGER_MAX = 64,
    GRACE_MS = 4000, /* how long a publisher may take to hand in again what Redis has lost */
    WAIT_MS = 3000,  /* a subscriber waits that long for Redis */
    KEYS_MS = 7 * 86400000,
    TASK_KEY_MAX = 64 + 8 + TL_TOPIC_MAX + 2
};

/* Events in order, the oldest at `at`. */
struct ring {
    struct tl_event **events; /* [own] refs */
    size_t cap, at, n, bytes; /* cap: a power of two */
};

enum topic_kind { TOPIC_TASK, TOPIC_TASKS, TOPIC_SOURCE };

struct topic {
    struct tl_bus *bus;
    enum topic_kind kind;
    char name[TL_TOPIC_MAX + 1];
    struct topic *prev, *next; /* of all */
    struct tl_subscription *subs, *subs_tail;
    size_t n_subs;
    size_t holds;           /* queued deliveries, calls under way */
    struct tl_event *state; /* [ref] its data is the snapshot; NULL: nothing is known */
    const struct tl_topic_source *source;
    /* a task's */
    struct tl_position last, life; /* accepted */
    struct ring ring;              /* everything after ring_from, up to last */
    struct tl_position ring_from;
    struct tl_task_info info;
    bool known;           /* there is or was such a task: it is listed */
    bool over;            /* the last event ends it */
    bool stalled;         /* subscribers were told so */
    int64_t heard_ms;     /* when its publisher was last heard of */
    struct tl_task *task; /* its publisher is here */
    /* Redis */
    bool synced; /* nothing of it was missed since it was read */
    bool lost;   /* what was accepted here is not what counts: the next read starts anew */
    bool grace_over;
    struct read *read; /* under way */
    struct tl_alarm retry, grace;
    unsigned failures;
    struct tl_event **backlog; /* [own] messages that came during the read */
    size_t n_backlog;
    bool backlog_over; /* some had no place */
};

enum sub_phase { SUB_NEW, SUB_WAITING /* for a read of its topic */, SUB_LIVE };
struct sub {
    struct tl_subscription *op;
    struct topic *topic;
    enum sub_phase phase;
    uint64_t from;                   /* LIVE: gets deliveries from this number on */
    uint64_t patience_ns;            /* WAITING: until then */
    struct sub *prev_new, *next_new; /* NEW */
};

/* One thing to deliver. Its number is its place in all that was ever queued. */
struct delivery {
    struct topic *topic;    /* held */
    struct tl_event *event; /* [ref] of a snapshot: the state, or NULL */
    struct tl_position at;
    bool snapshot;
};

/* What waits for the epoch of a term. */
struct early {
    char type[TL_EVENT_TYPE_MAX + 1];
    char *data; /* [own] */
    size_t n;
};

enum task_phase {
    TASK_CLAIMING, /* the epoch is not known yet */
    TASK_CATCHING, /* it is; events of terms before are being read */
    TASK_OPEN,
    TASK_FENCED
};

/* The publishing end. Its owner's until ended or abandoned (gone), then the bus's until Redis has everything. */
struct tl_task {
    struct tl_bus *bus;
    struct topic *topic; /* held */
    struct tl_task *prev, *next;
    char id[TASK_ID_MAX + 1], name[72];
    struct tl_task_options opt; /* texts: unused */
    enum task_phase phase;
    bool gone;   /* the owner has let go */
    bool ending; /* the last event is still to be made */
    bool ended;  /* it was made */
    int64_t gone_ms;
    int64_t epoch_ms, started_ms;
    int64_t floor_ms; /* CLAIMING: Redis would give an epoch out that is over; this one is asked for. 0: none */
    uint64_t seq;
    struct tl_position before; /* the life before this term */
    struct early *early;
    size_t n_early, early_bytes;
    /* states */
    struct tl_task_progress progress;
    bool have_progress, progress_due;
    uint64_t said_ns; /* when the last state went out; 0: none yet */
    struct tl_alarm beat;
    /* handin.c */
    char owner[40];
    char keys[2][TASK_KEY_MAX];               /* ev, snap */
    struct ring kept;                         /* lifecycle events of this term */
    struct tl_position kept_after;            /* the life before the first of them */
    size_t acked, sent;                       /* of kept: Redis has; handed in. acked <= sent */
    struct tl_position acked_life, sent_life; /* what Redis' life is, and will be once it has what was handed in */
    struct tl_event *state;                   /* [ref] the newest state, not yet handed in */
    bool claimed;                             /* Redis has this term, as far as known */
    bool claim_open, index_open;
    unsigned open, round, failures; /* hand-ins under way; which attempt they belong to */
    struct tl_alarm again, claim_deadline;
    struct claim *claim; /* [own] */
};

struct ready {
    void (*cb)(void *ctx, enum tl_status);
    void *ctx;
    struct ready *next;
};

struct tl_bus {
    struct tl_cache *cache;
    const struct tl_clock *clock;
    const struct tl_log *log;
    struct tl_alarms *alarms; /* of its own */
    uint64_t instance, nonce;
    char prefix[65];
    size_t ring_events, ring_bytes, stream_events;
    uint32_t tasks_max, stalled_ms, timeout_ms;

    struct tl_map *topics; /* name -> struct topic */
    struct topic *all;
    size_t n_topics, n_subs, n_known, rings_bytes;
    struct topic *tasks; /* the topic; held for ever */
    const struct tl_topic_source **sources;
    size_t n_sources;

    /* deliver.c */
    struct delivery *queue; /* cap a power of two */
    size_t queue_cap, queue_n;
    uint64_t first, next; /* numbers: first .. next - 1 are queued */
    size_t undelivered_bytes;
    struct tl_soon deliver;
    struct sub *new_head, *new_tail;
    struct tl_subscription *walk, *walk_waiting; /* the next to be called */

    /* publish.c */
    struct tl_task *terms;
    size_t queued, queued_bytes;
    void (*on_market)(void *ctx, struct tl_str envelope);
    void *market_ctx;

    /* Redis */
    struct tl_redis *redis; /* NULL: none */
    struct tl_redis_sub *sub;
    bool tasks_stale;               /* tasks were found that its subscribers were not told of */
    bool redis_up, sub_up, decided; /* decided: the first connections came or failed */
    char channels[4][96];           /* progress, lifecycle, control, market */
    const char *channel_list[4];
    char index_key[96];
    struct index_read *index;
    struct tl_alarm decide;

    /* tasks.c, archive.c */
    struct tl_alarm second;
    bool loaded;
    enum tl_status load_status;
    size_t loading;
    struct ready *readies;
    struct tl_soon ready_soon;
    struct archive *archive;
    struct tl_history_op *histories;
    struct control_op *controls;

    struct tl_bus_stats stats;
    bool closing, ending, drain_over;
    size_t commands; /* under way: closing waits for them */
    unsigned open_parts;
    struct tl_soon close_soon;
    struct tl_alarm drain;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

#define CONTAINER(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))

static inline bool position_none(struct tl_position p)
{
    return p.epoch_ms == 0 && p.seq == 0;
}

/* ---- bus.c ---- */
uint64_t bus_now_ns(const struct tl_bus *);
int64_t bus_now_ms(const struct tl_bus *);
/* Perhaps what closing waits for has ended. */
void bus_check_closed(struct tl_bus *);
void bus_alarm(struct tl_bus *, struct tl_alarm *, uint64_t ms);

/* ---- topic.c ---- */
size_t event_bytes(const struct tl_event *);      /* what it costs */
void ring_push(struct ring *, struct tl_event *); /* takes a ref; no memory: the ring is emptied */
void ring_pop(struct ring *);
void ring_clear(struct ring *);
static inline struct tl_event *ring_at(const struct ring *r, size_t i)
{
    return r->events[(r->at + i) & (r->cap - 1)];
}
/* The index of the first event after p. */
size_t ring_after(const struct ring *, struct tl_position p);

bool task_id_ok(const char *id);
struct topic *topic_find(struct tl_bus *, const char *name);
/* NULL: memory is out. */
struct topic *topic_make(struct tl_bus *, enum topic_kind, const char *name);
/* Frees it when nothing needs it. */
void topic_check(struct topic *);
void topic_free(struct topic *);
/* Somebody here wants every event of it. */
bool topic_followed(const struct topic *);
/* The event is the next one. */
void topic_accept(struct topic *, struct tl_event *);
/* It becomes what is known, without being delivered: state may be NULL. */
void topic_learn(struct topic *, struct tl_event *state, struct tl_position last, struct tl_position life);
/* Forgets the events kept in memory; from now on they are kept after p. */
void topic_restart_ring(struct topic *, struct tl_position p);
/* Older events, without a hole after `from`, join those kept in memory. */
void topic_extend_ring(struct topic *, struct tl_position from, struct tl_event *const *events, size_t n);
void topic_trim_known(struct tl_bus *);

/* ---- deliver.c ---- */
void deliver_init(struct tl_bus *);
void deliver_event(struct topic *, struct tl_event *);
/* To everybody who is LIVE: the state now. */
void deliver_snapshot(struct topic *);
void deliver_drop_all(struct tl_bus *);
/* Those who wait for this topic get what is there: recovered where `since` is covered by events (in order, without a
 * hole after `from`). No such list: from == NULL. What lies before `asked` was not asked for: who needs it is NEW
 * again. Who has more than is known here waits on, as long as its patience lasts. */
void deliver_waiting(struct topic *, struct tl_position asked, const struct tl_position *from,
                     struct tl_event *const *events, size_t n);
/* least: of what they have; none of them has anything: {INT64_MAX, ...}. */
bool deliver_anybody_waits(const struct topic *, struct tl_position *least);
bool deliver_anybody_live(const struct topic *);
void deliver_requeue(struct topic *, bool all); /* those who WAIT (not all: for too long) are NEW again */
void deliver_end_all(struct tl_bus *);

/* ---- publish.c ---- */
void task_opened(struct tl_task *); /* the epoch is known, what was before, too. May free it */
void task_fence(struct tl_task *);
void task_check(struct tl_task *); /* frees what has ended */
void task_free(struct tl_task *);
void tasks_end_all(struct tl_bus *);
bool tasks_drained(const struct tl_bus *);

/* ---- handin.c ---- */
void handin_claim(struct tl_task *);
void handin_event(struct tl_task *, struct tl_event *);
void handin_pump(struct tl_task *);
void handin_up(struct tl_bus *);    /* Redis can be asked again */
void handin_watch(struct tl_bus *); /* each second */
void handin_release(struct tl_task *);
/* Everything was handed in, and answered. */
bool handin_done(const struct tl_task *);

/* ---- remote.c ---- */
TL_MUSTCHECK enum tl_status remote_open(struct tl_bus *, const char *url, struct tl_err *err);
void remote_keys(const struct tl_bus *, const char *topic, char ev[TASK_KEY_MAX], char snap[TASK_KEY_MAX]);
/* An event came from elsewhere. */
void remote_heard(struct topic *, struct tl_event *);
void remote_backlog(struct topic *); /* those that waited for the read */
void remote_drop_backlog(struct topic *);
/* Can Redis be asked, or may that be soon? */
bool remote_hopeful(const struct tl_bus *);

/* ---- read.c ---- */
/* Reads the topic as soon as Redis can be asked; no-op when that is under way. */
void read_begin(struct topic *);
void read_count(struct topic *); /* loading waits for the read under way */
void read_release(struct topic *);
void read_up(struct tl_bus *);

struct page {   /* a reply of the script READ */
    bool there; /* Redis knows the task */
    struct tl_position position, life;
    int64_t started_ms;
    char name[72];
    struct tl_event *state;    /* [own] or NULL */
    struct tl_event **events;  /* [own] in order; those that are no events of the topic are left out */
    struct tl_position *after; /* [own] of each, the life before it */
    size_t n, bytes;
    bool more;              /* the page was full */
    bool damaged;           /* something was left out */
    struct tl_position end; /* of the last entry, also when it was left out */
};
TL_MUSTCHECK enum tl_status page_parse(const struct tl_reply *, const char *topic, struct page *, size_t count);
void page_release(struct page *);

/* ---- tasks.c ---- */
void tasks_load(struct tl_bus *);   /* what Redis and the archive know */
void tasks_reload(struct tl_bus *); /* Redis again */
void tasks_loaded_one(struct tl_bus *);
void tasks_snapshot(struct tl_bus *, struct tl_buf *out);
void tasks_second(struct tl_alarm *);
void tasks_end_readies(struct tl_bus *);
void tasks_release(struct tl_bus *);

/* ---- archive.c ---- */
TL_MUSTCHECK enum tl_status archive_open(struct tl_bus *);
void archive_load(struct tl_bus *);  /* leads to one tasks_loaded_one */
void archive_touch(struct topic *);  /* of a task published here: it has begun, or ended */
void archive_close(struct tl_bus *); /* cancels reads; writes what is due */
void archive_flush(struct tl_bus *); /* while it closes: what came to be due since */
bool archive_idle(const struct tl_bus *);
void archive_free(struct tl_bus *);
struct archive_ask { /* [pinned] until cb */
    void (*cb)(struct archive_ask *, enum tl_status, struct tl_event **events, size_t n, bool complete); /* [own] */
    void *state;
};
TL_MUSTCHECK enum tl_status archive_events(struct tl_bus *, struct archive_ask *, const char *topic);

/* ---- history.c, control.c ---- */
void histories_end(struct tl_bus *);
void histories_free(struct tl_bus *);
void controls_end(struct tl_bus *);
void control_message(struct tl_bus *, struct tl_str payload);

/* ---- scripts.c ---- */
enum { SCRIPT_TERM, SCRIPT_EVENT, SCRIPT_READ, SCRIPT_INDEX, SCRIPT_TASKS, BUS_SCRIPTS };
extern const struct tl_redis_script bus_scripts[BUS_SCRIPTS];

#endif
