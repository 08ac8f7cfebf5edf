// SPDX-License-Identifier: Apache-2.0
// The cache of the server's process, as the topic `cache/stats` tells it once a second: the newest report, and ten
// minutes of it. From the first time that a page wants it, it goes on.
import { defineStore } from 'pinia';
import { markRaw, ref, shallowRef } from 'vue';
import { Columns, Counters, quantileMs, Ring, type Histogram } from './history';
import { open } from './live';
import { TIERS, type Report, type TierName } from './types';

export const LATENCY_S = 10; // percentiles are of the reads of that long
const RATIO_S = 60; // and the hit ratio of now is

type Figure = 'hits' | 'misses' | 'p50' | 'p99';
export type TierColumn = `${TierName}.${Figure}`;
const COLUMNS = TIERS.flatMap((t) => (['hits', 'misses', 'p50', 'p99'] as const).map((f): TierColumn => `${t}.${f}`));
type CounterName = `${TierName}.${'hits' | 'misses'}`;
type Past = Record<TierName, { hits: number; misses: number; latency: Histogram }>;

export interface RecentRatio { hits: number; reads: number }

export const useTiers = defineStore('tiers', () => {
    const report = shallowRef<Report | null>(null);
    const heardAt = ref(0); // performance.now() of the newest
    const version = ref(0); // rises with every sample of the history
    const error = ref('');
    const recent = shallowRef<Record<TierName, RecentRatio> | null>(null);
    const history = markRaw(new Columns<TierColumn>(COLUMNS));
    const counters = new Counters<CounterName>();
    const past = new Ring<Past>(RATIO_S + 1);
    let closing: (() => void) | null = null;

    function note(r: Report): void {
        const counts = {} as Record<CounterName, number>;
        for (const t of TIERS) {
            counts[`${t}.hits`] = r[t].hits;
            counts[`${t}.misses`] = r[t].misses;
        }
        const step = counters.step(r.now_ms, r.instance, counts);
        if (!step) return;
        if (step.anew) history.clear();
        if (step.anew || step.gap) past.clear();
        past.push(r);
        const values: Partial<Record<TierColumn, number | null>> = {}, ratios = {} as Record<TierName, RecentRatio>;
        const minute = past.at(0)!, seconds = past.at(Math.max(0, past.length - 1 - LATENCY_S))!;
        for (const t of TIERS) {
            values[`${t}.hits`] = step.rates?.[`${t}.hits`] ?? null;
            values[`${t}.misses`] = step.rates?.[`${t}.misses`] ?? null;
            values[`${t}.p50`] = quantileMs(r[t].latency, seconds[t].latency, 0.5);
            values[`${t}.p99`] = quantileMs(r[t].latency, seconds[t].latency, 0.99);
            const hits = r[t].hits - minute[t].hits;
            ratios[t] = { hits, reads: hits + r[t].misses - minute[t].misses };
        }
        recent.value = ratios;
        if (!step.anew) history.push(r.now_ms, values);
        version.value++;
    }
    function take(data: unknown): void {
        const r = data as Report | null;
        if (!r || typeof r.instance !== 'string') return;
        const last = report.value;
        if (last && last.instance === r.instance && r.now_ms <= last.now_ms) return; // a snapshot of what is known
        error.value = '';
        report.value = r;
        heardAt.value = performance.now();
        note(r);
    }
    function begin(): void {
        if (error.value) end();
        closing ??= open('cache/stats', {
            event: (e) => take(e.data),
            snapshot: (s) => take(s.data),
            error: (message) => { error.value = message; },
        });
    }
    function end(): void {
        closing?.();
        closing = null;
        error.value = '';
    }
    return { report, heardAt, version, error, recent, history, begin };
});
