// SPDX-License-Identifier: Apache-2.0
// Servers of the tests: the one whose dashboard is looked at, others on the same store and Redis beside it, and requests
// to them that do not come from the page.
import assert from 'node:assert/strict';
import { type ChildProcess } from 'node:child_process';
import { Real, freePort, sleep } from '../test/real.js';

export const QUIET = '[server]\naccess_log = no\n';
export type Doc = Record<string, any>;
export interface Options {
    symbols?: number; // of the sample market; none unless given
    redis?: boolean;
    config?: string;
    others?: string[]; // the configuration of each further server
}
export interface Progress { done: number; total: number; failed: number; computed: number; from_cache: number; skipped: number; state: string }

/** The first true result of `check`. */
export async function eventually<T>(what: string, ms: number, check: () => Promise<T | null | false> | T | null | false): Promise<T> {
    for (const end = Date.now() + ms; ; await sleep(20)) {
        const result = await check();
        if (result) return result;
        if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    }
}

export class World extends Real {
    others: { http: string; process: ChildProcess }[] = [];
    private constructor(readonly options: Options) { super(); }

    static async begin(options: Options): Promise<World> {
        const w = new World(options);
        try {
            if (options.redis) await w.startRedis();
            if (options.symbols) {
                w.run('sample', 'market', '--symbols', `${options.symbols}`, '--quiet');
                w.run('import', 'market/bars', '--quiet');
                w.run('import', 'market/factors.csv', '--kind', 'factors', '--quiet');
            }
            await w.serve(options.config ?? '');
            for (const config of options.others ?? []) {
                const port = await freePort();
                w.others.push({ http: `http://127.0.0.1:${port}`, process: await w.serveAt(port, config) });
            }
            return w;
        } catch (e) {
            await w.close();
            throw e;
        }
    }
    async hasDashboard(): Promise<boolean> { return (await this.get('info')).dashboard === true; }
    again(): Promise<void> { return this.serve(this.options.config ?? ''); }

    async ask(method: string, path: string, body?: unknown, o: { at?: string; type?: string; token?: string } = {}): Promise<Response> {
        const headers: Record<string, string> = {};
        if (o.token) headers['authorization'] = `Bearer ${o.token}`;
        if (body !== undefined) headers['content-type'] = o.type ?? 'application/json';
        const sent = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
        return fetch(`${o.at ?? this.http}/api/v1/${path}`, { method, headers, body: sent });
    }
    async good(method: string, path: string, body?: unknown, o: { at?: string; type?: string; token?: string } = {}): Promise<Doc> {
        const r = await this.ask(method, path, body, o);
        const text = await r.text();
        assert.ok(r.ok, `${method} ${path}: ${r.status} ${text}`);
        return text ? JSON.parse(text) as Doc : {};
    }
    get(path: string): Promise<Doc> { return this.good('GET', path); }
    /** null: it has not begun. */
    async progress(job: string): Promise<Progress | null> { return (await this.get(`jobs/${job}`)).progress as Progress ?? null; }
    async ended(job: string, ms = 120000): Promise<Progress> {
        return eventually(`the end of ${job}`, ms, async () => {
            const r = await this.ask('GET', `jobs/${job}`);
            if (!r.ok) return null;
            const p = ((await r.json()) as Doc).progress as Progress | undefined;
            return p && ['completed', 'failed', 'cancelled'].includes(p.state) ? p : null;
        });
    }
}

/** A task of a program of its own, paced by the test. */
export class ForeignTask {
    private term = '';
    constructor(private readonly world: World, readonly id: string, private readonly at = world.http, private readonly name = 'factors') {}
    async say(...events: Doc[]): Promise<Doc> {
        const query = this.term ? `?term=${this.term}` : `?name=${this.name}`;
        const answer = await this.world.good('POST', `tasks/${this.id}/events${query}`, events, { at: this.at });
        this.term = answer.term as string;
        return answer;
    }
    begin(total: number): Promise<Doc> { return this.say({ type: 'task.started.v1', data: { total } }); }
    end(data: Doc, type = 'task.completed.v1'): Promise<Doc> { return this.say({ type, data }); }
}

export const symbolsOf = (n: number): string[] => Array.from({ length: n }, (_, i) => `${String(600000 + i).padStart(6, '0')}.SH`);
