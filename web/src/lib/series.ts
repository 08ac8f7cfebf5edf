// SPDX-License-Identifier: Apache-2.0
// The results of one indicator, as the server computed them: a row a bar, by the bar's time. Raw ones are told by
// indicator/<symbol>/<freq>/<spec>; of adjusted ones the end is asked for when the bars have changed.
import { reactive } from 'vue';
import { ApiError, getWith, part, type Answer } from './api';
import { oneAtATime, sameVersion, type Choice, type IndicatorUpdate } from './candles';
import { open } from './live';
import type { Series, Version } from './types';

export type Row = readonly (number | null)[];
export interface SeriesView {
    id: string; spec: string;
    phase: 'loading' | 'ready' | 'error';
    busy: boolean;
    problem: string; code: string;
    columns: string[]; lastTs: number | null; last: Row;
    source: string; freshness: string; version: Version | null;
    tookMs: number | null; // null: it was pushed
    ageMs: number | null; at: number; // of the values, at that time (Date.now())
    colors: number[]; // of the outputs, in the palette
}

export class ShownSeries {
    readonly view: SeriesView;
    rows = new Map<number, Row>();
    private choice: Choice | null = null;
    private count = 0;
    private run = 0;
    private stop: AbortController | null = null;
    private topic = '';
    private told = false; // the topic is open: it says what is new
    private closeTopic: (() => void) | null = null;

    /** outputs: as far as they are known before the answer. */
    constructor(id: string, spec: string, outputs: string[], colors: number[], private readonly changed: (s: ShownSeries) => void) {
        this.view = reactive<SeriesView>({
            id, spec, phase: 'loading', busy: false, problem: '', code: '', columns: outputs, lastTs: null, last: [],
            source: '', freshness: '', version: null, tookMs: null, ageMs: null, at: 0, colors,
        });
    }

    /** The last `count` rows. now: of the version that the store has now. */
    async load(choice: Choice, count: number, now = false): Promise<void> {
        const other = !this.choice || this.choice.symbol !== choice.symbol || this.choice.freq !== choice.freq || this.choice.adjust !== choice.adjust;
        this.choice = choice;
        this.count = Math.max(other ? 0 : this.count, count);
        if (other) {
            this.listen('');
            this.clear();
        }
        this.stop?.abort();
        this.stop = new AbortController();
        this.run++;
        if (this.view.phase === 'error') this.view.phase = 'loading';
        await this.ask(this.count, now, true);
    }
    respec(spec: string): void {
        this.view.spec = spec;
        this.listen('');
        this.clear();
        if (this.choice) void this.load(this.choice, this.count);
    }
    close(): void {
        this.run++;
        this.stop?.abort();
        this.listen('');
    }
    private clear(): void {
        this.rows = new Map();
        Object.assign(this.view, { phase: 'loading', lastTs: null, last: [], version: null, source: '', freshness: '', problem: '', code: '' });
        this.changed(this);
    }

    private async get(query: Record<string, string | number>): Promise<Answer<Series> | null> {
        const run = this.run, c = this.choice!, view = this.view;
        view.busy = true;
        try {
            const a = await getWith<Series>(`api/v1/indicators/${part(c.symbol)}/${part(view.spec)}`, { freq: c.freq, adjust: c.adjust, ...query }, this.stop?.signal);
            if (run !== this.run) return null;
            view.busy = false;
            return a;
        } catch (e) {
            if (run !== this.run) return null;
            view.busy = false;
            view.problem = e instanceof Error ? e.message : String(e);
            view.code = e instanceof ApiError ? e.code : '';
            const lost = e instanceof ApiError && (e.status === 0 || e.status >= 500); // what is drawn may still be right
            if (!lost || this.rows.size === 0) {
                this.rows = new Map();
                Object.assign(view, { phase: 'error', lastTs: null, last: [], version: null });
                this.changed(this);
            }
            return null;
        }
    }
    private async ask(last: number, now: boolean, whole: boolean): Promise<void> {
        const a = await this.get({ last, ...(now && { max_age: 0 }) });
        if (!a) return;
        const s = a.data, view = this.view;
        if (!whole && view.version?.revision !== s.version.revision) return this.ask(this.count, now, true);
        if (whole) this.rows = new Map();
        s.ts.forEach((ts, i) => this.rows.set(ts, s.values[i]!));
        const n = s.ts.length;
        this.choice = { ...this.choice!, symbol: s.symbol };
        Object.assign(view, {
            phase: 'ready', problem: '', code: '', spec: s.spec, columns: s.columns, version: s.version, source: s.source, freshness: s.freshness,
            tookMs: a.tookMs, ageMs: s.age_ms ?? null, at: Date.now(),
            ...(n > 0 && { lastTs: s.ts[n - 1]!, last: s.values[n - 1]! }),
        });
        this.changed(this);
        this.listen(s.adjust === 'raw' ? `indicator/${s.symbol}/${s.freq}/${s.spec}` : '');
    }
    async older(q: { to: string; last: number }, bars: number): Promise<void> {
        this.count = Math.max(this.count, bars);
        if (this.view.phase !== 'ready') return;
        const a = await this.get({ ...q });
        if (!a) return;
        if (a.data.version.revision !== this.view.version?.revision) return this.ask(this.count, true, true);
        a.data.ts.forEach((ts, i) => this.rows.set(ts, a.data.values[i]!));
        this.changed(this);
    }

    private listen(topic: string): void {
        if (topic === this.topic) return;
        this.closeTopic?.();
        this.topic = topic;
        this.told = topic !== '';
        this.closeTopic = topic ? open(topic, {
            event: (e) => { if (this.topic === topic) this.onUpdate(e.data as IndicatorUpdate); },
            snapshot: (s) => { if (this.topic === topic && s.data) this.onUpdate(s.data as IndicatorUpdate); },
            error: () => { if (this.topic === topic) this.told = false; },
        }) : null;
    }
    private onUpdate(d: IndicatorUpdate): void {
        const view = this.view, was = view.version;
        if (d.status !== 'OK') { // the bars have moved on: what is drawn is of those before
            view.problem = d.error ?? d.status;
            view.freshness = 'stale';
            return;
        }
        if (!d.version || sameVersion(d.version, was)) return;
        this.count = Math.max(this.count, this.rows.size + d.version.bars - (was?.bars ?? 0));
        const one = was && d.version.revision === was.revision && d.version.bars - was.bars === 1;
        if (!one || typeof d.ts !== 'number' || view.phase !== 'ready') {
            this.newer(d.version);
            return;
        }
        this.rows.set(d.ts, d.values ?? []);
        Object.assign(view, {
            version: d.version, source: d.source ?? '', freshness: d.freshness ?? '', problem: '', tookMs: null,
            ageMs: d.source === 'computed' ? 0 : null, at: Date.now(), lastTs: d.ts, last: d.values ?? [],
        });
        this.changed(this);
    }
    /** The bars have changed; there are `bars` now, before any resampling. */
    barsChanged(bars: number): void {
        if (this.choice && (!this.told || this.view.phase === 'error')) this.newer({ bars });
    }
    private newer = oneAtATime(async (to: { bars: number; revision?: number }) => {
        const was = this.view.version, whole = !was || (to.revision !== undefined && to.revision !== was.revision);
        await this.ask(whole ? this.count : Math.max(0, to.bars - was.bars) + 2, true, whole);
    });
}
