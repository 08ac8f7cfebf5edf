// SPDX-License-Identifier: Apache-2.0
// Which symbols a job has: of its record.
import { ApiError, get, part } from '../../lib/api';
import { FREQS, type Freq, type JobError, type SymbolRow } from '../../lib/types';

export interface JobRequest {
    symbols: string; specs: string; set: string | null; schedule: string | null; retry_of: string | null;
    freq: Freq; adjust: string; suspended: string; recompute: boolean; date: string | null;
    posted_ms: number | null; started_ms: number | null; ended_ms: number | null;
    state: string; error: string | null; total: number; done: number; computed: number; from_cache: number; waited: number;
    skipped: number; failed: number; elapsed_ms: number; errors: number; name: string;
}
export interface ErrorPage { total: number; from: number; errors: JobError[] }

export const ERRORS_PAGE = 1000;
const SYMBOLS_PAGE = 100000;

export function errorPage(id: string, from: number, signal: AbortSignal): Promise<ErrorPage> {
    return get<ErrorPage>(`api/v1/jobs/${part(id)}/errors`, { from, limit: ERRORS_PAGE }, signal);
}

const minutes = (f: Freq): number => (f.endsWith('m') ? Number(f.slice(0, -1)) : 0); // 0: a day or more
/** Whether bars of `have` do for a job of `want`. */
function serves(have: Freq, want: Freq): boolean {
    if (FREQS.indexOf(have) >= FREQS.indexOf(want)) return have === want;
    return minutes(want) === 0 || minutes(want) % minutes(have) === 0;
}
async function addStored(into: Set<string>, freq: Freq, signal: AbortSignal): Promise<void> {
    let after: string | null = null;
    do {
        const page: { symbols: SymbolRow[]; next: string | null } =
            await get('api/v1/symbols', { freq, limit: SYMBOLS_PAGE, after }, signal);
        for (const row of page.symbols) into.add(row.symbol);
        after = page.next;
    } while (after);
}
/** Sorted. `total`: how many the job says there are; 0: it does not say yet. null: not known. */
export async function symbolsOf(request: JobRequest, total: number, signal: AbortSignal): Promise<string[] | null> {
    const found = new Set<string>();
    if (request.retry_of) { // those that failed there
        try {
            for (let from = 0, of = 1; from < of;) {
                const page = await errorPage(request.retry_of, from, signal);
                for (const e of page.errors) found.add(e.symbol);
                of = page.errors.length ? page.total : 0;
                from += page.errors.length;
            }
        } catch (e) {
            if (e instanceof ApiError && e.status === 404) return null; // it is no longer kept
            throw e;
        }
    } else if (request.symbols !== 'all') {
        for (const s of request.symbols.split(',')) if (s.trim()) found.add(s.trim());
    } else {
        const freqs = FREQS.filter((f) => serves(f, request.freq)).reverse();
        for (const f of freqs) {
            await addStored(found, f, signal);
            if (found.size >= Math.max(total, 1)) break;
        }
    }
    return [...found].sort();
}
