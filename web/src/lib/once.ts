// SPDX-License-Identifier: Apache-2.0
// Leases and what was computed once, as the topic `locks` tells it once a second, and ten minutes of the counters. From
// the first time that a page wants it, it goes on.
import { defineStore } from 'pinia';
import { markRaw, ref, shallowRef } from 'vue';
import { Columns, Counters } from './history';
import { open, type TierlineEvent } from './live';
import type { LocksState } from './types';

export const COUNTS = ['computed', 'from_cache', 'waited', 'taken_over', 'duplicated', 'failed', 'degraded', 'lent'] as const;
export type CountName = (typeof COUNTS)[number];

export const useOnce = defineStore('once', () => {
    const state = shallowRef<LocksState | null>(null);
    const source = ref(''); // the process that says it
    const saidAt = ref(0); // by the server's clock, ms
    const heardAt = ref(0); // performance.now()
    const version = ref(0); // rises with every sample of the history
    const error = ref('');
    const history = markRaw(new Columns<CountName>(COUNTS));
    const counters = new Counters<CountName>();
    let closing: (() => void) | null = null;

    function take(e: TierlineEvent): void {
        const s = e.data as LocksState | null;
        if (!s || (s.locks !== null && !Array.isArray(s.locks))) return;
        error.value = '';
        state.value = s;
        source.value = e.source;
        saidAt.value = Date.parse(e.time);
        heardAt.value = performance.now();
        const counts = {} as Record<CountName, number>;
        for (const name of COUNTS) counts[name] = s[name];
        const step = counters.step(saidAt.value, e.source, counts);
        if (!step) return;
        if (step.anew) history.clear();
        else history.push(saidAt.value, step.rates ?? {});
        version.value++;
    }
    function begin(): void {
        if (error.value) end();
        // A snapshot says neither when nor by whom; the next event comes within a second.
        closing ??= open('locks', { event: take, error: (message) => { error.value = message; } });
    }
    function end(): void {
        closing?.();
        closing = null;
        error.value = '';
    }
    return { state, source, saidAt, heardAt, version, error, history, begin };
});
