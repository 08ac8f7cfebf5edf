// SPDX-License-Identifier: Apache-2.0
// One Chromium, a context of its own for each page that is looked at, and what the page did there: requests, WebSocket
// frames, and what it complained of.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContext, type BrowserContextOptions, type Locator, type Page, chromium } from 'playwright-core';
import { sleep } from '../test/real.js';
import { eventually, type World } from './world.js';

export interface Request { at: number; method: string; url: string; path: string; status: number; headers: Record<string, string> }
export interface Frame { at: number; sent: boolean; text: string }
export interface Sight extends BrowserContextOptions {
    path?: string; // what to open: "#/jobs"
    complaints?: RegExp[]; // what the page may say on its console here
    storage?: Record<string, string>; // localStorage before the page begins
    skip?: string | false; // why it cannot be looked at
    frames?: boolean; // keep the text of WebSocket frames (true)
}
/** Of a page whose server is taken away. */
export const LOST = [/WebSocket connection to/, /net::ERR_CONNECTION/, /Failed to load resource/];

export const program = process.env.TL_CHROMIUM ?? '/usr/bin/chromium';
export const hasBrowser = (): boolean => existsSync(program);

let launched: Promise<Browser> | null = null;
export function browser(): Promise<Browser> {
    const root = process.getuid?.() === 0;
    return launched ??= chromium.launch({ executablePath: program, chromiumSandbox: !root, args: ['--disable-dev-shm-usage'] });
}
export async function closeBrowser(): Promise<void> {
    if (launched) await (await launched).close();
    launched = null;
}
export class Watched {
    readonly requests: Request[] = [];
    readonly frames: Frame[] = [];
    sockets: string[] = []; // their URLs
    problems: string[] = [];
    pending = 0;
    private constructor(readonly world: World, readonly context: BrowserContext, readonly page: Page, private readonly sight: Sight) {
        page.on('request', (r) => {
            this.pending++;
            const u = new URL(r.url());
            this.requests.push({ at: Date.now(), method: r.method(), url: r.url(), path: u.pathname + u.search, status: 0, headers: r.headers() });
        });
        page.on('requestfinished', () => { this.pending--; });
        page.on('requestfailed', () => { this.pending--; });
        page.on('response', (r) => {
            const mine = this.requests.find((x) => x.url === r.url() && x.status === 0);
            if (mine) mine.status = r.status();
        });
        page.on('websocket', (ws) => {
            this.sockets.push(ws.url());
            if (sight.frames === false) return;
            ws.on('framesent', (f) => { this.frames.push({ at: Date.now(), sent: true, text: String(f.payload) }); });
            ws.on('framereceived', (f) => { this.frames.push({ at: Date.now(), sent: false, text: String(f.payload) }); });
        });
        page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') this.problems.push(`${m.type()}: ${m.text()} ${m.location().url}`); });
        page.on('pageerror', (e) => { this.problems.push(`not caught: ${e.message}\n${e.stack ?? ''}`); });
    }
    static async open(world: World, sight: Sight = {}): Promise<Watched> {
        const { path = '#/jobs', complaints: _c, storage, frames: _f, skip: _s, ...options } = sight;
        const context = await (await browser()).newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', colorScheme: 'light', ...options });
        context.setDefaultTimeout(20000);
        if (storage) await context.addInitScript((all) => { for (const [k, v] of Object.entries(all)) localStorage.setItem(k, v); }, storage);
        const page = await context.newPage(), w = new Watched(world, context, page, sight);
        await page.goto(`${world.http}/${path}`);
        await w.seen('the navigation', page.locator('nav a[aria-current=page]')); // before that the router hears of no other address
        return w;
    }
    t(name: string): Locator { return this.page.locator(`[data-test="${name}"]`); }
    async go(path: string): Promise<void> { await this.page.evaluate((hash) => { location.hash = hash; }, path); }

    /** Nothing was asked of the server for `ms`. */
    async settled(ms = 700): Promise<void> {
        await eventually(`no request for ${ms} ms; the last: ${this.requests[this.requests.length - 1]?.path}`, 20000, () => {
            const last = this.requests[this.requests.length - 1];
            return this.pending === 0 && Date.now() - (last?.at ?? 0) > ms;
        });
    }
    /** What the page asks for by HTTP while `run` runs. */
    async requestsDuring(run: () => Promise<void>): Promise<string[]> {
        const before = this.requests.length;
        await run();
        return this.requests.slice(before).map((r) => `${r.method} ${r.path}`);
    }
    received(): Record<string, any>[] {
        return this.frames.filter((f) => !f.sent).flatMap((f) => f.text.split('\n').filter(Boolean).map((l) => JSON.parse(l)));
    }
    async seen(what: string, locator: Locator, ms = 20000): Promise<void> {
        try { await locator.first().waitFor({ state: 'visible', timeout: ms }); } catch { throw new Error(`not seen within ${ms} ms: ${what}`); }
    }
    async gone(what: string, locator: Locator, ms = 20000): Promise<void> {
        await eventually(`${what} to be gone`, ms, async () => (await locator.count()) === 0 || !(await locator.first().isVisible()));
    }
    async text(locator: Locator): Promise<string> { return ((await locator.first().textContent({ timeout: 5000 })) ?? '').replace(/\s+/g, ' ').trim(); }
    /** The number in a text of whatever locale's grouping. */
    async number(locator: Locator): Promise<number> { return numberIn(await this.text(locator)); }
    async shows(what: string, ms: number, read: () => Promise<unknown>, wanted: unknown): Promise<void> {
        let last: unknown = 'nothing';
        const end = Date.now() + ms;
        for (;;) {
            try { last = await read(); } catch (e) { last = e instanceof Error ? e.message.split('\n')[0] : e; }
            try { assert.deepEqual(last, wanted); return; } catch { /* not yet */ }
            if (Date.now() > end) assert.deepEqual(last, wanted, `not within ${ms} ms: ${what}`);
            await sleep(20);
        }
    }
    complaints(): string[] { return this.problems.filter((p) => !(this.sight.complaints ?? []).some((r) => r.test(p))); }
    async close(): Promise<void> { await this.context.close(); }
}

export function numberIn(text: string): number {
    const found = /-?\d[\d.,\s\u00a0\u202f]*/.exec(text);
    return found ? Number(found[0].replace(/[,\s\u00a0\u202f]/g, '')) : NaN;
}
