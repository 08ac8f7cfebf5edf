// SPDX-License-Identifier: Apache-2.0
// What is remembered of the last minutes, bounded: rings of anything, columns of numbers over time for charts, and what
// counters that only rise did between two samples.

/** The newest `cap` of what was pushed. */
export class Ring<T> {
    private items: T[] = [];
    private first = 0;
    fallen = 0; // how many fell out since the last clear
    constructor(readonly cap: number) {}

    get length(): number { return this.items.length; }
    get last(): T | undefined { return this.items.length ? this.at(this.items.length - 1) : undefined; }
    /** 0: the oldest. */
    at(i: number): T | undefined {
        return this.items[(this.first + i) % this.cap];
    }
    /** What fell out for it. */
    push(item: T): T | undefined {
        if (this.items.length < this.cap) {
            this.items.push(item);
            return undefined;
        }
        const out = this.items[this.first];
        this.items[this.first] = item;
        this.first = (this.first + 1) % this.cap;
        this.fallen++;
        return out;
    }
    clear(): void {
        this.items = [];
        this.first = this.fallen = 0;
    }
}

export const KEPT = 600; // samples: ten minutes at one a second
export const GAP_MS = 3000; // without a sample: a gap in the chart
const LEAST_MS = 500; // between samples that rates are made of

/** Columns of numbers over time, of equal length; null is a gap. */
export class Columns<K extends string> {
    times: number[] = []; // seconds
    private columns = new Map<K, (number | null)[]>();
    constructor(private readonly names: readonly K[], private readonly cap = KEPT) {
        this.clear();
    }
    clear(): void {
        this.times = [];
        for (const name of this.names) this.columns.set(name, []);
    }
    push(atMs: number, values: Partial<Record<K, number | null>>): void {
        const over = this.times.length >= this.cap;
        this.times.push(atMs / 1000);
        if (over) this.times.shift();
        for (const [name, column] of this.columns) {
            column.push(values[name] ?? null);
            if (over) column.shift();
        }
    }
    column(name: K): readonly (number | null)[] {
        return this.columns.get(name)!;
    }
}

export interface Step<K extends string> { anew: boolean; gap: boolean; rates: Record<K, number> | null } // rates: a second

/** Counters of one process. Another source, or a counter that fell, is another process: everything begins anew. */
export class Counters<K extends string> {
    private before: { atMs: number; source: string; counts: Record<K, number> } | null = null;

    /** null: nothing new is known by it. */
    step(atMs: number, source: string, counts: Record<K, number>): Step<K> | null {
        const b = this.before, names = Object.keys(counts) as K[];
        const anew = !b || b.source !== source || names.some((n) => counts[n] < b.counts[n]) || atMs < b.atMs - 60000;
        if (!anew && atMs - b.atMs < LEAST_MS) return null;
        this.before = { atMs, source, counts };
        if (anew) return { anew, gap: false, rates: null };
        const seconds = (atMs - b.atMs) / 1000;
        if (seconds * 1000 > GAP_MS) return { anew, gap: true, rates: null };
        const rates = {} as Record<K, number>;
        for (const n of names) rates[n] = (counts[n] - b.counts[n]) / seconds;
        return { anew, gap: false, rates };
    }
}

export type Histogram = readonly (readonly [bucket: number, reads: number])[];

/** Where a bucket of a report's `latency` ends (bucket_end of src/cache/cache.c). */
export function bucketEndMs(bucket: number): number {
    const whole = 2 ** (Math.floor(bucket / 2) + 6);
    return (bucket % 2 ? whole + Math.floor(whole * 0.41421356) : whole) / 1e6;
}

/** Of the reads that `later` has and `earlier` has not; null: there are none. */
export function quantileMs(later: Histogram, earlier: Histogram, share: number): number | null {
    const before = new Map(earlier), reads: [bucket: number, n: number][] = [];
    let all = 0, seen = 0;
    for (const [bucket, n] of later) {
        const more = n - (before.get(bucket) ?? 0);
        if (more > 0) reads.push([bucket, more]);
        all += Math.max(0, more);
    }
    reads.sort((a, b) => a[0] - b[0]);
    for (const [bucket, n] of reads) {
        seen += n;
        if (seen >= share * all) return bucketEndMs(bucket);
    }
    return null;
}
