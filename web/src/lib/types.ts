// SPDX-License-Identifier: Apache-2.0
// What the server says, as the pages read it (GET /api/v1/openapi.json, docs/events.md).
export const FREQS = ['1m', '5m', '15m', '30m', '60m', '1d', '1w', '1mo'] as const;
export type Freq = (typeof FREQS)[number];
export const ADJUSTS = ['raw', 'forward', 'backward'] as const;
export type Adjust = (typeof ADJUSTS)[number];
export type TaskState = 'queued' | 'running' | 'stalled' | 'cancelling' | 'completed' | 'failed' | 'cancelled';
export const OVER: readonly TaskState[] = ['completed', 'failed', 'cancelled'];

export interface Version { revision: number; bars: number; last_ts: number }
export interface Progress {
    task: string; name: string; state: TaskState;
    done: number; total: number; failed: number; skipped: number; from_cache: number; computed: number; waited: number;
    rate: number; eta_ms: number | null; item: string; elapsed_ms: number; error?: string;
}
/** A row of the snapshot of `tasks`. */
export interface TaskRow extends Progress { position: string; started_ms: number; updated_ms: number }
export interface JobError { symbol: string; spec: string | null; status: string; error: string }
export interface SymbolRow {
    symbol: string; freq: Freq; bars: number; first: string; last: string; first_ts: number; last_ts: number;
    revision: number; provisional: boolean;
}
export interface Bars {
    symbol: string; freq: Freq; adjust: Adjust; source_freq: Freq; zone: string | null; provisional: boolean;
    version: Version; columns: string[]; ts: number[]; values: number[][];
}
export interface Series {
    symbol: string; freq: Freq; adjust: Adjust; spec: string; version: Version; source: string; freshness: string;
    age_ms?: number; columns: string[]; ts: number[]; values: (number | null)[][];
}
export interface IndicatorParam { name: string; kind: 'integer' | 'real' | 'ma_type'; min: number; max: number; default: number }
export interface Indicator {
    name: string; group: string; title: string; inputs: string[]; params: IndicatorParam[]; outputs: string[]; integer: boolean;
}
export interface Registry { indicators: Indicator[]; sets?: Record<string, string[]> }
export interface Info {
    name: string; version: string; host: string; pid: number; started_ms: number; now_ms: number; store: boolean; redis: boolean;
}
/** computation: whoever makes the value of the key `name` holds it. */
export interface Lease { name: string; holder: string; token: number; left_ms: number; computation?: boolean }
export interface LocksState {
    locks: Lease[] | null; // null: Redis cannot be asked
    more: boolean; // than fit
    computed: number; from_cache: number; waited: number; taken_over: number; duplicated: number; failed: number;
    degraded: number; lent: number;
}
export interface TierCounts {
    configured: boolean; up: boolean; breaker_open: boolean; breaker_opened: number; hits: number; misses: number;
    errors: number; poisoned: number; read_bytes: number; written: number; coalesced: number; retried: number;
    skipped: number; refused: number; lost: number; latency: [bucket: number, reads: number][];
}
export const TIERS = ['memory', 'redis', 'store'] as const;
export type TierName = (typeof TIERS)[number];
export interface Report {
    instance: string; pid: number; host: string; program: string; started_ms: number; now_ms: number;
    memory: TierCounts; redis: TierCounts; store: TierCounts;
    entries: number; bytes: number; cap_bytes: number; evictions: number; expirations: number;
    queue_entries: number; queue_bytes: number; queue_cap_bytes: number;
    gets: number; puts: number; flights: number; joined: number; loads: number; stale_served: number;
    invalidations: number; announcements: number; top: { key: string; reads: number; error: number }[];
}
