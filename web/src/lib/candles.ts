// SPDX-License-Identifier: Apache-2.0
// Bars as they are drawn, and which rows are to be asked for.
import type { Adjust, Bars, Freq, Version } from './types';

export type Candle = {
    timestamp: number; open: number; high: number; low: number; close: number;
    volume?: number; turnover?: number; // not there: not known, which is not 0
};
export interface Choice { symbol: string; freq: Freq; adjust: Adjust }
/** What market.update.v1 and indicator.update.v1 say. */
export interface MarketUpdate extends Version { symbol: string; freq: Freq; adjust: Adjust }
export interface IndicatorUpdate {
    symbol: string; freq: Freq; adjust: Adjust; spec: string; status: string; error?: string;
    version?: Version; source?: string; freshness?: string; rows?: number; ts?: number | null; values?: (number | null)[];
}

export const PAGE = 2000;
const DAY = 86400000;
const MINUTES: Partial<Record<Freq, number>> = { '1m': 1, '5m': 5, '15m': 15, '30m': 30, '60m': 60 };

export function toCandles(b: Bars): Candle[] {
    const at = (name: string): number => b.columns.indexOf(name);
    const [o, h, l, c, v, a] = [at('open'), at('high'), at('low'), at('close'), at('volume'), at('amount')] as const;
    return b.ts.map((timestamp, i) => {
        const row = b.values[i] as (number | null)[];
        const candle: Candle = { timestamp, open: row[o]!, high: row[h]!, low: row[l]!, close: row[c]! };
        if (typeof row[v] === 'number') candle.volume = row[v]!;
        if (typeof row[a] === 'number') candle.turnover = row[a]!;
        return candle;
    });
}

/**
 * The rows before firstTs. `to` is a trading date, which may be days after the instant (the night before a holiday): the
 * answer then repeats some rows from firstTs on, for which `last` leaves room.
 */
export function olderQuery(freq: Freq, firstTs: number): { to: string; last: number } {
    const minutes = MINUTES[freq];
    const days = minutes === undefined ? 0 : 4;
    const again = minutes === undefined ? 1 : Math.ceil((days + 1) * 1440 / minutes);
    return { to: new Date(firstTs + days * DAY).toISOString().slice(0, 10), last: PAGE + again };
}

export function sameVersion(a: Version | null | undefined, b: Version | null | undefined): boolean {
    return !!a && !!b && a.revision === b.revision && a.bars === b.bars && a.last_ts === b.last_ts;
}

function digitsOf(n: number): number {
    const text = String(n), dot = text.indexOf('.');
    return dot < 0 || text.includes('e') ? 0 : text.length - dot - 1;
}
/** Digits behind the point: as the market writes raw prices; adjusted ones have no tick. */
export function pricePrecision(candles: readonly Candle[], adjust: Adjust): number {
    let most = 0;
    for (const c of adjust === 'raw' ? candles.slice(-200) : candles.slice(-1))
        for (const p of [c.open, c.high, c.low, c.close]) most = Math.max(most, digitsOf(p));
    return Math.min(Math.max(most, 2), adjust === 'raw' ? 6 : 3);
}

export function periodOf(freq: Freq): { type: 'minute' | 'day' | 'week' | 'month'; span: number } {
    const minutes = MINUTES[freq];
    if (minutes !== undefined) return { type: 'minute', span: minutes };
    return { type: freq === '1d' ? 'day' : freq === '1w' ? 'week' : 'month', span: 1 };
}

/** f, one call at a time; of what is asked for meanwhile the last is done after it. */
export function oneAtATime<T>(f: (x: T) => Promise<void>): (x: T) => void {
    const waiting: T[] = [];
    let busy = false;
    return (x) => {
        waiting.splice(0, 1, x);
        if (busy) return;
        busy = true;
        void (async () => {
            try {
                while (waiting.length > 0) await f(waiting.pop()!);
            } finally { busy = false; }
        })();
    };
}
