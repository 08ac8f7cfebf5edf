// SPDX-License-Identifier: Apache-2.0
// The bars of one choice of symbol, frequency and adjustment, kept up to date by market/<symbol>. The topic tells raw
// versions; those of adjusted bars come with the bars.
import { markRaw, reactive } from 'vue';
import { ApiError, get, getWith, part } from './api';
import { oneAtATime, olderQuery, PAGE, sameVersion, toCandles, type Candle, type Choice, type MarketUpdate } from './candles';
import { open } from './live';
import type { Bars, Freq, Version } from './types';

export interface MarketView {
    phase: 'idle' | 'loading' | 'ready' | 'empty' | 'error';
    problem: string; code: string;
    behind: string; // what went wrong when newer or older bars were asked for
    symbol: string; // as the server writes it
    zone: string | null; sourceFreq: Freq | '';
    version: Version | null;
    last: Candle | null; before: Candle | null; // the bar before the last one
    loaded: number;
}
export interface MarketSink {
    all(candles: readonly Candle[], keepView: boolean): void;
    tail(candles: readonly Candle[]): void; // in place of the last bar, and behind it
    updated(update: MarketUpdate): void;
}

export class Market {
    readonly view = reactive<MarketView>({
        phase: 'idle', problem: '', code: '', behind: '', symbol: '', zone: null, sourceFreq: '', version: null, last: null, before: null, loaded: 0,
    });
    candles: Candle[] = [];
    more = false; // there may be older ones
    choice: Choice | null = null;
    private run = 0;
    private stop: AbortController | null = null;
    private topic = '';
    private closeTopic: (() => void) | null = null;

    constructor(private readonly sink: MarketSink) {}

    async choose(choice: Choice | null): Promise<void> {
        const before = this.choice;
        this.choice = choice;
        if (!choice) {
            this.cancel();
            this.listen('');
            this.view.phase = 'idle';
            return;
        }
        const keepView = before?.symbol === choice.symbol && before.freq === choice.freq && this.view.phase === 'ready';
        if (before?.symbol !== choice.symbol) this.listen('');
        if (!keepView) {
            this.candles = [];
            this.more = false;
            this.view.version = null;
            this.show();
            this.sink.all([], false);
        }
        await this.load(keepView ? Math.max(PAGE, this.candles.length) : PAGE, keepView);
    }
    close(): void {
        this.cancel();
        this.listen('');
    }
    retry = (): void => { if (this.choice) void this.load(Math.max(PAGE, this.candles.length), true, this.view.phase === 'ready'); };

    private missed: MarketUpdate | null = null; // while bars were being loaded

    private cancel(): number {
        this.stop?.abort();
        this.stop = new AbortController();
        return ++this.run;
    }
    private query(last: number): Record<string, string | number> {
        return { freq: this.choice!.freq, adjust: this.choice!.adjust, last };
    }
    private get path(): string {
        return `api/v1/bars/${part(this.choice!.symbol)}`;
    }

    /** quiet: what is seen stays until the answer is there, and if there is none. */
    private async load(last: number, keepView: boolean, quiet = false): Promise<void> {
        const run = this.cancel(), view = this.view;
        if (!quiet) view.phase = 'loading';
        let bars: Bars;
        try {
            bars = (await getWith<Bars>(this.path, this.query(last), this.stop!.signal)).data;
        } catch (e) {
            if (run === this.run) this.failed(e, quiet);
            return;
        }
        if (run !== this.run) return;
        this.candles = toCandles(bars);
        this.more = bars.ts.length >= last;
        this.choice = { ...this.choice!, symbol: bars.symbol };
        Object.assign(view, { problem: '', code: '', behind: '', symbol: bars.symbol, zone: bars.zone, sourceFreq: bars.source_freq, version: bars.version });
        view.phase = bars.ts.length > 0 ? 'ready' : 'empty';
        this.show();
        this.sink.all(this.candles, keepView);
        this.listen(bars.symbol);
        const missed = this.missed;
        this.missed = null;
        if (missed?.symbol === bars.symbol) this.onUpdate(missed);
    }
    private failed(e: unknown, quiet: boolean): void {
        const view = this.view, text = e instanceof Error ? e.message : String(e);
        if (quiet) {
            view.behind = text;
            return;
        }
        this.candles = [];
        Object.assign(view, { phase: 'error', problem: text, code: e instanceof ApiError ? e.code : '', behind: '', version: null });
        this.show();
        if (view.code === 'NO_DATA') this.listen(this.choice!.symbol); // bars may come
    }
    private show(): void {
        const n = this.candles.length;
        this.view.last = n > 0 ? markRaw(this.candles[n - 1]!) : null;
        this.view.before = n > 1 ? markRaw(this.candles[n - 2]!) : null;
        this.view.loaded = n;
    }

    /** null: not wanted any more. */
    async older(): Promise<Candle[] | null> {
        const run = this.run, first = this.candles[0];
        if (!first || !this.choice || !this.more) return [];
        const q = olderQuery(this.choice.freq, first.timestamp);
        let bars: Bars;
        try {
            bars = await get<Bars>(this.path, { ...this.query(q.last), to: q.to }, this.stop?.signal);
        } catch (e) {
            if (run !== this.run) return null;
            this.failed(e, true);
            return [];
        }
        if (run !== this.run) return null;
        if (bars.version.revision !== this.view.version?.revision) {
            void this.load(this.candles.length + PAGE, true, true);
            return null;
        }
        const older = toCandles(bars).filter((c) => c.timestamp < first.timestamp);
        this.more = bars.ts.length >= q.last && older.length > 0;
        this.candles = older.concat(this.candles);
        this.view.behind = '';
        this.show();
        return older;
    }

    private append(tail: Candle[], version: Version): void {
        if (tail[0]?.timestamp === this.candles[this.candles.length - 1]?.timestamp) this.candles.pop();
        this.candles.push(...tail);
        this.view.version = version;
        this.view.behind = '';
        this.show();
        this.sink.tail(tail);
    }

    private listen(symbol: string): void {
        const topic = symbol && `market/${symbol}`;
        if (topic === this.topic) return;
        this.closeTopic?.();
        this.topic = topic;
        let snapshots = 0;
        this.closeTopic = topic ? open(topic, {
            event: (e) => this.onUpdate(e.data as MarketUpdate),
            snapshot: (s) => this.onSnapshot(s.data as MarketUpdate | null, snapshots++ > 0),
        }) : null;
    }
    /** It tells one frequency, or nothing; after a reconnect anything may have happened meanwhile. */
    private onSnapshot(d: MarketUpdate | null, again: boolean): void {
        const { version, sourceFreq, phase } = this.view;
        if (d && d.freq === sourceFreq) this.onUpdate(d);
        else if (version && sourceFreq && phase === 'ready' && (d || again)) this.newer({ ...version, symbol: this.view.symbol, freq: sourceFreq, adjust: 'raw' });
    }
    private onUpdate(d: MarketUpdate): void {
        const view = this.view;
        if (view.phase === 'loading') this.missed = d; // the answer may be older
        if (view.phase === 'error' || view.phase === 'empty') {
            void this.load(PAGE, false);
        } else if (view.phase === 'ready' && d.freq === view.sourceFreq) {
            if (this.choice!.adjust === 'raw' && sameVersion(d, view.version)) return;
            this.newer(d);
        }
    }
    private newer = oneAtATime(async (d: MarketUpdate) => {
        const run = this.run, view = this.view, was = view.version;
        if (!was || !this.choice) return;
        const added = Math.max(0, d.bars - was.bars), lastTs = this.candles[this.candles.length - 1]!.timestamp;
        const anew = (): Promise<void> => this.load(Math.max(PAGE, this.candles.length + added), true, true);
        if (this.choice.adjust === 'raw' && d.revision !== was.revision) {
            await anew();
        } else {
            let bars: Bars;
            try {
                bars = await get<Bars>(this.path, this.query(added + 2), this.stop?.signal);
            } catch (e) {
                if (run === this.run) this.failed(e, true);
                return;
            }
            if (run !== this.run || view.version !== was || sameVersion(bars.version, was)) return; // a load was there first
            if (bars.version.revision !== was.revision || bars.ts.length === 0 || bars.ts[0]! > lastTs) await anew();
            else this.append(toCandles(bars).filter((c) => c.timestamp >= lastTs), bars.version);
        }
        this.sink.updated(d);
    });
}
