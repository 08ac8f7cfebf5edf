/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics in the text format of Prometheus: one row a metric, from the statistics of each part. */
#include "server/api.h"

#include "base/num.h"
#include "base/util.h"
#include "server/session.h"

#include <inttypes.h>
#include <sys/resource.h>

enum kind { COUNTER, GAUGE, SUMMARY };

static void head(struct tl_buf *b, const char *name, enum kind kind, const char *help)
{
    static const char *const words[] = {"counter", "gauge", "summary"};
    tl_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, words[kind]);
}

static void one(struct tl_buf *b, const char *name, enum kind kind, const char *help, uint64_t n)
{
    head(b, name, kind, help);
    tl_buf_printf(b, "%s %" PRIu64 "\n", name, n);
}

/* ---- tiers ---- */

static const char *const tier_names[] = {"memory", "redis", "store"};

struct tier_metric {
    const char *name, *help;
    enum kind kind;
    uint64_t (*of)(const struct tl_tier_stats *);
};

#define OF(field)                                                                                                      \
    static uint64_t field##_of(const struct tl_tier_stats *t)                                                          \
    {                                                                                                                  \
        return t->field;                                                                                               \
    }
OF(hits)
OF(misses)
OF(errors)
OF(poisoned)
OF(read_bytes)
OF(written)
OF(coalesced)
OF(retried)
OF(skipped)
OF(refused)
OF(lost)
OF(breaker_opened)
OF(up)
OF(breaker_open)
#undef OF

static const struct tier_metric tier_metrics[] = {
    {"tierline_tier_hits_total", "Reads that found a value", COUNTER, hits_of},
    {"tierline_tier_misses_total", "Reads that found none", COUNTER, misses_of},
    {"tierline_tier_errors_total", "Reads and writes that failed", COUNTER, errors_of},
    {"tierline_tier_poisoned_total", "Entries that were damaged, and not used", COUNTER, poisoned_of},
    {"tierline_tier_read_bytes_total", "Payload of the hits", COUNTER, read_bytes_of},
    {"tierline_tier_written_total", "Values written", COUNTER, written_of},
    {"tierline_tier_coalesced_total", "Writes that a newer one of the same key replaced", COUNTER, coalesced_of},
    {"tierline_tier_retried_total", "Writes tried again", COUNTER, retried_of},
    {"tierline_tier_skipped_total", "Writes that the tier could not take and a lower one did", COUNTER, skipped_of},
    {"tierline_tier_refused_total", "Writes refused, since the queue was full", COUNTER, refused_of},
    {"tierline_tier_lost_total", "Writes that were accepted and could not be kept", COUNTER, lost_of},
    {"tierline_tier_breaker_opened_total", "Times the circuit breaker opened", COUNTER, breaker_opened_of},
    {"tierline_tier_up", "1 while the tier is in use", GAUGE, up_of},
    {"tierline_tier_breaker_open", "1 while the circuit breaker is open", GAUGE, breaker_open_of},
};

static void tiers(struct tl_buf *b, const struct tl_cache_stats *s)
{
    const struct tl_tier_stats *const tier[] = {&s->memory, &s->redis, &s->store};
    for (size_t m = 0; m < TL_COUNT(tier_metrics); m++) {
        head(b, tier_metrics[m].name, tier_metrics[m].kind, tier_metrics[m].help);
        for (size_t i = 0; i < TL_COUNT(tier); i++)
            if (tier[i]->configured)
                tl_buf_printf(b, "%s{tier=\"%s\"} %" PRIu64 "\n", tier_metrics[m].name, tier_names[i],
                              tier_metrics[m].of(tier[i]));
    }
    head(b, "tierline_tier_read_seconds", SUMMARY, "Time of reads by quantile, since the start");
    static const double quantiles[] = {0.5, 0.99, 0.999};
    for (size_t i = 0; i < TL_COUNT(tier); i++) {
        for (size_t q = 0; tier[i]->configured && q < TL_COUNT(quantiles); q++) {
            char number[TL_NUM_MAX];
            size_t n = tl_num_format(number, (double)tl_latency_quantile(tier[i]->latency, quantiles[q]) / 1e9);
            tl_buf_printf(b, "tierline_tier_read_seconds{tier=\"%s\",quantile=\"%g\"} %.*s\n", tier_names[i],
                          quantiles[q], (int)n, number);
        }
    }
}

static void cache(struct tl_buf *b, const struct tl_cache_stats *s)
{
    one(b, "tierline_memory_entries", GAUGE, "Entries in memory", s->memory_entries);
    one(b, "tierline_memory_bytes", GAUGE, "Memory of the memory tier, everything counted", s->memory_bytes);
    one(b, "tierline_memory_cap_bytes", GAUGE, "Bound of the memory tier", s->memory_cap_bytes);
    one(b, "tierline_memory_evictions_total", COUNTER, "Entries evicted for room", s->evictions);
    one(b, "tierline_memory_expirations_total", COUNTER, "Entries that expired", s->expirations);
    one(b, "tierline_queue_entries", GAUGE, "Writes that wait for Redis and the store", s->queue_entries);
    one(b, "tierline_queue_bytes", GAUGE, "Bytes of the writes that wait", s->queue_bytes);
    one(b, "tierline_queue_cap_bytes", GAUGE, "Bound of the writes that wait", s->queue_cap_bytes);
    one(b, "tierline_cache_gets_total", COUNTER, "Values asked for", s->gets);
    one(b, "tierline_cache_puts_total", COUNTER, "Values put", s->puts);
    one(b, "tierline_cache_flights_total", COUNTER, "Reads below memory", s->flights);
    one(b, "tierline_cache_joined_total", COUNTER, "Reads that joined one under way", s->joined);
    one(b, "tierline_cache_loads_total", COUNTER, "Values made by a source", s->loads);
    one(b, "tierline_cache_stale_served_total", COUNTER, "Outdated values handed out while they were renewed",
        s->stale_served);
    one(b, "tierline_cache_invalidations_total", COUNTER, "Invalidations", s->invalidations);
    one(b, "tierline_cache_announcements_total", COUNTER, "Announcements of other processes", s->announcements);
}

static void scheduler(struct tl_buf *b, const struct tl_scheduler *s)
{
    struct tl_scheduler_stats t;
    tl_scheduler_stats(s, &t);
    one(b, "tierline_once_computed_total", COUNTER, "Values made here, and visible", t.computed);
    one(b, "tierline_once_from_cache_total", COUNTER, "Values found in a tier", t.from_cache);
    one(b, "tierline_once_waited_total", COUNTER, "Values that another process made meanwhile", t.waited);
    one(b, "tierline_once_taken_over_total", COUNTER, "Values made after the process that was at it vanished",
        t.taken_over);
    one(b, "tierline_once_duplicated_total", COUNTER, "Values made here in vain", t.duplicated);
    one(b, "tierline_once_failed_total", COUNTER, "Values that could not be made", t.failed);
    one(b, "tierline_once_degraded_total", COUNTER, "Values made without the Redis that is configured", t.degraded);
    one(b, "tierline_once_fenced_total", COUNTER, "Values handed in after the lease was lost", t.fenced);
    one(b, "tierline_once_superseded_total", COUNTER, "Values handed in after the data changed", t.superseded);
    one(b, "tierline_once_lent_total", COUNTER, "Keys lent to callers outside", t.lent);
    one(b, "tierline_once_exchanges_total", COUNTER, "Exchanges with Redis for computing once",
        t.acquires + t.commits + t.renewals);
}

static void events(struct tl_buf *b, const struct api *api)
{
    struct tl_bus_stats s;
    uint64_t conflated, resyncs;
    tl_bus_stats(api->bus, &s);
    sessions_totals(api->sockets, &conflated, &resyncs);
    one(b, "tierline_events_published_total", COUNTER, "Events published by this process", s.published);
    one(b, "tierline_events_delivered_total", COUNTER, "Deliveries to subscribers", s.delivered);
    one(b, "tierline_events_fenced_total", COUNTER, "Events refused, since a later publisher has begun", s.fenced);
    one(b, "tierline_events_replayed_total", COUNTER, "Events handed in again after Redis lost them", s.replayed);
    one(b, "tierline_events_repaired_total", COUNTER, "Events read from streams after a gap", s.repaired);
    one(b, "tierline_events_resyncs_total", COUNTER, "Snapshots sent in place of lost events", s.resyncs);
    one(b, "tierline_events_stream_reads_total", COUNTER, "Reads of streams", s.stream_reads);
    one(b, "tierline_events_lost_total", COUNTER, "Events that could not be handed to Redis", s.lost);
    one(b, "tierline_events_queued", GAUGE, "Events that wait for Redis", s.queued);
    one(b, "tierline_events_topics", GAUGE, "Topics known", s.topics);
    one(b, "tierline_events_subscriptions", GAUGE, "Subscriptions", s.subscriptions);
    one(b, "tierline_feed_conflated_total", COUNTER, "Events that a newer one stood for", conflated);
    one(b, "tierline_feed_resyncs_total", COUNTER, "Topics begun anew for a slow reader", resyncs);
}

static void transport(struct tl_buf *b, const struct api *api)
{
    struct tl_http_stats h;
    struct tl_ws_stats w;
    static const char *const classes[] = {"1xx", "1xx", "2xx", "3xx", "4xx", "5xx"};
    tl_http_stats(api->http, &h);
    tl_ws_stats(api->ws, &w);
    head(b, "tierline_http_requests_total", COUNTER, "Requests answered, by class");
    for (size_t i = 1; i < TL_COUNT(classes); i++)
        tl_buf_printf(b, "tierline_http_requests_total{class=\"%s\"} %" PRIu64 "\n", classes[i], h.by_class[i]);
    one(b, "tierline_http_connections", GAUGE, "Open connections", h.connections);
    one(b, "tierline_http_accepted_total", COUNTER, "Connections accepted", h.accepted);
    one(b, "tierline_http_refused_total", COUNTER, "Connections refused", h.refused);
    one(b, "tierline_http_sent_bytes_total", COUNTER, "Bytes of answers", h.bytes_out);
    one(b, "tierline_http_streams", GAUGE, "Open event streams", h.streams);
    one(b, "tierline_ws_sockets", GAUGE, "Open WebSockets", w.sockets);
    one(b, "tierline_ws_queued_bytes", GAUGE, "Bytes that wait for readers", w.queued_bytes);
    one(b, "tierline_ws_opened_total", COUNTER, "WebSockets opened", w.opened);
    one(b, "tierline_ws_messages_received_total", COUNTER, "Messages received", w.messages_in);
    one(b, "tierline_ws_frames_sent_total", COUNTER, "Frames sent", w.frames_out);
    one(b, "tierline_ws_sent_bytes_total", COUNTER, "Bytes sent", w.bytes_out);
    one(b, "tierline_ws_writes_total", COUNTER, "Writes to sockets", w.writes);
    one(b, "tierline_ws_full_total", COUNTER, "Messages that did not fit into a queue", w.full);
    one(b, "tierline_ws_stalled_total", COUNTER, "WebSockets cut, since their reader took nothing", w.stalled);
    one(b, "tierline_ws_protocol_errors_total", COUNTER, "WebSockets closed for breaking the protocol",
        w.protocol_errors);
}

static void process(struct tl_buf *b, const struct api *api)
{
    struct rusage u;
    head(b, "tierline_info", GAUGE, "Version of the server");
    tl_buf_printf(b, "tierline_info{version=\"%s\"} 1\n", TL_VERSION);
    head(b, "process_start_time_seconds", GAUGE, "When the process began");
    tl_buf_printf(b, "process_start_time_seconds %.3f\n", (double)api->started_ms / 1e3);
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        double s = (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
                   (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
        head(b, "process_cpu_seconds_total", COUNTER, "CPU time");
        tl_buf_printf(b, "process_cpu_seconds_total %.3f\n", s);
        one(b, "tierline_process_max_resident_bytes", GAUGE, "Largest resident memory so far",
            (uint64_t)u.ru_maxrss * 1024);
    }
}

void api_get_metrics(struct api_call *c)
{
    struct api *api = c->api;
    struct tl_cache_stats s;
    tl_cache_stats(api->cache, &s);
    process(&c->out, api);
    tiers(&c->out, &s);
    cache(&c->out, &s);
    if (api->scheduler) scheduler(&c->out, api->scheduler);
    events(&c->out, api);
    transport(&c->out, api);
    api_reply_bytes(c, "text/plain; version=0.0.4; charset=utf-8", NULL);
}
