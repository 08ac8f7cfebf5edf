// SPDX-License-Identifier: Apache-2.0
// A client of tierline.v1 (docs/protocol.md) for browsers and Node 18.20, without dependencies.
//
// It keeps one WebSocket, connects again when that ends (full jitter, not before a `bye` allows it) and subscribes again
// from the last position it has handed out. What it promises of a task's lifecycle events: each is handed out at most
// once, in order, and when some may be missing `snapshot` is called with `lost: true` before anything later. Of states
// (progress, market updates, statistics) the newest counts; `standsFor` says how many it stands for.

export type Position = string; // "<epoch_ms>-<seq>"
export interface TierlineEvent<T = any> { // CloudEvents 1.0
    specversion: '1.0'; id: string; source: string; type: string; subject: string; time: string;
    sequence?: Position; via?: string; data: T;
}
export interface Snapshot<T = any> {
    topic: string; position: Position | null; data: T;
    lost: boolean; // events between what was handed out before and this may be missing: this stands for them
}
export interface Handlers {
    event(event: TierlineEvent, standsFor: number): void;
    snapshot?(snapshot: Snapshot): void;
    error?(error: TierlineError): void; // the subscription is over
}
export interface SubscribeOptions { since?: Position; mode?: 'stream' | 'latest'; maxHz?: number }
export interface Subscription { readonly topic: string; readonly position: Position | null; close(): void }
export interface History { topic: string; complete: boolean; more: boolean; position: Position; events: TierlineEvent[] }
export type Status = { state: 'connecting' | 'open' | 'waiting' | 'closed'; reason?: string; retryMs?: number };
export interface WebSocketLike {
    onopen: ((e: any) => void) | null; onmessage: ((e: any) => void) | null;
    onclose: ((e: any) => void) | null; onerror: ((e: any) => void) | null;
    send(text: string): void; close(code?: number, reason?: string): void;
}
export interface Options {
    url: string; // ws://host:port/ws
    token?: () => string | Promise<string>; // asked at every connection, and before one runs out
    ticket?: () => string | Promise<string>; // of POST /api/v1/tickets, instead: one is used up by each connection
    WebSocket?: new (url: string, protocols: string[]) => WebSocketLike; // default: the global one
    status?: (status: Status) => void;
    requestMs?: number; // how long an answer may take: 10 s
    quietMs?: number; // a ping after that long without a word, and the end after half as long again: 25 s
    backoffMs?: [number, number]; // of the first wait, and the longest: 500 ms, 30 s
    random?: () => number;
}
export class TierlineError extends Error {
    constructor(readonly code: string, message: string, readonly topic?: string) {
        super(message);
        this.name = 'TierlineError';
    }
}

export function comparePositions(a: Position, b: Position): number {
    const x = a.split('-'), y = b.split('-');
    return Number(x[0]) - Number(y[0]) || Number(x[1]) - Number(y[1]);
}
const SEEN_MAX = 5000; // tasks whose positions a subscription of "tasks" remembers
const WAKE_MS = 3000; // for the answer to a ping after a sleep
const DOCUMENTS = 50; // in one message; the server takes 100

class Sub implements Subscription {
    topic: string; // the server's name for it, once known
    live = false; // a snapshot has come, ever
    seen = new Map<string, Position>(); // of each task, what was handed out last
    id = 0;
    constructor(private readonly client: Tierline, readonly asked: string, readonly on: Handlers,
        readonly options: SubscribeOptions) {
        this.topic = asked;
        if (options.since) this.seen.set(asked, options.since);
        this.live = options.since !== undefined;
    }
    get position(): Position | null { return this.seen.get(this.topic) ?? null; }
    close(): void { this.client.drop(this); }

    note(subject: string, position: Position): boolean { // false: it is not new
        const last = this.seen.get(subject);
        if (last !== undefined && comparePositions(position, last) <= 0) return false;
        this.seen.delete(subject); // so that the map is in the order of use
        this.seen.set(subject, position);
        if (this.seen.size > SEEN_MAX) this.seen.delete(this.seen.keys().next().value as string);
        return true;
    }
    takeSnapshot(s: { position: Position | null; recovered: boolean; data: any }): void {
        if (s.recovered) return; // everything since the last one follows
        const before = this.position, first = !this.live;
        let lost = !first && (this.topic === 'tasks' || this.topic.startsWith('task/'));
        if (lost && before && s.position && comparePositions(s.position, before) <= 0) lost = false;
        if (s.position) this.note(this.topic, s.position);
        if (this.topic === 'tasks') for (const t of s.data?.tasks ?? []) this.note(`task/${t.task}`, t.position);
        this.live = true;
        call(() => this.on.snapshot?.({ topic: this.topic, position: s.position, data: s.data, lost }));
    }
    takeEvent(e: TierlineEvent, standsFor: number): void {
        if (e.sequence && !this.note(e.subject, e.sequence)) return;
        call(() => this.on.event(e, standsFor));
    }
}
// What a caller's function throws is the caller's: it is not lost, and harms nothing here.
function call(f: () => void): void {
    try { f(); } catch (e) { queueMicrotask(() => { throw e; }); }
}

interface Waiting { resolve(doc: any): void; reject(e: Error): void; timer: ReturnType<typeof setTimeout> }

export class Tierline {
    private ws: WebSocketLike | null = null;
    private open = false; // the server has said hello
    private ended = false;
    private tries = 0;
    private ids = 0;
    private byeMs = 0;
    private heard = 0;
    private standsFor = 1;
    private subs = new Set<Sub>();
    private byTopic = new Map<string, Sub>(); // on this connection, by the server's name
    private waiting = new Map<number, Waiting>();
    private retryTimer: ReturnType<typeof setTimeout> | undefined;
    private aliveTimer: ReturnType<typeof setInterval> | undefined;
    private tokenTimer: ReturnType<typeof setTimeout> | undefined;
    private readonly quietMs: number;

    constructor(private readonly o: Options) {
        this.quietMs = o.quietMs ?? 25000;
        void this.connect();
    }

    subscribe(topic: string, on: Handlers, options: SubscribeOptions = {}): Subscription {
        for (const s of this.subs)
            if (s.asked === topic || s.topic === topic) throw new TierlineError('CONFLICT', 'subscribed already', topic);
        const sub = new Sub(this, topic, on, options);
        this.subs.add(sub);
        if (this.open) this.send([this.subscribing(sub)]);
        return sub;
    }
    drop(sub: Sub): void {
        if (!this.subs.delete(sub)) return;
        if (this.byTopic.get(sub.topic) === sub) this.byTopic.delete(sub.topic);
        if (this.open) this.send([{ op: 'unsubscribe', topics: [sub.topic] }]);
    }
    /** One page of a task's events after `since`: go on from `position` while there is `more`. */
    async history(topic: string, since?: Position, limit?: number): Promise<History> {
        return this.ask({ op: 'history', topic, since, limit });
    }
    async cancel(task: string): Promise<void> { await this.ask({ op: 'cancel', task }); }
    /** A new job of the items that failed: its id. */
    async retry(task: string): Promise<string> { return (await this.ask({ op: 'retry', task })).task; }
    async ping(): Promise<number> { const at = Date.now(); await this.ask({ op: 'ping' }); return Date.now() - at; }

    /** The network is back, or the machine has slept: connects at once where it waits, else asks whether anybody is there. */
    wake(): void {
        const ws = this.ws;
        if (this.ended || (ws && !this.open)) return;
        if (ws) {
            const late = setTimeout(() => { if (this.ws === ws) this.lost('nothing was heard'); }, WAKE_MS);
            this.ask({ op: 'ping' }).then(() => clearTimeout(late), () => clearTimeout(late));
        } else if (this.retryTimer !== undefined) {
            clearTimeout(this.retryTimer);
            this.retryTimer = undefined;
            void this.connect();
        }
    }
    close(): void {
        if (this.ended) return;
        this.ended = true;
        clearTimeout(this.retryTimer);
        this.detach('closed')?.close(1000);
        this.say({ state: 'closed' });
    }

    // ---- the connection ----

    private say(s: Status): void { call(() => this.o.status?.(s)); }

    private async connect(): Promise<void> {
        this.say({ state: 'connecting' });
        let url = this.o.url;
        let ws: WebSocketLike;
        try {
            const ticket = await this.o.ticket?.();
            if (ticket !== undefined) url += `${url.includes('?') ? '&' : '?'}ticket=${encodeURIComponent(ticket)}`;
            if (this.ended) return;
            const make = this.o.WebSocket ?? (globalThis as any).WebSocket;
            if (!make) throw new Error('no WebSocket here: pass one, such as that of npm ws');
            this.ws = ws = new make(url, ['tierline.v1']) as WebSocketLike;
        } catch (e) {
            this.later(String(e));
            return;
        }
        const mine = (f: (e: any) => void) => (e: any) => { if (this.ws === ws) f(e); };
        this.heard = Date.now();
        ws.onopen = mine(() => void this.authenticate());
        ws.onmessage = mine((e) => this.message(String(e.data)));
        ws.onerror = () => {}; // a close follows
        ws.onclose = mine((e) => this.lost(`closed: ${e.code} ${e.reason ?? ''}`.trim()));
        this.aliveTimer = setInterval(() => this.look(), this.quietMs / 5);
    }
    private async authenticate(): Promise<void> {
        const ws = this.ws;
        if (!this.o.token) return;
        try {
            const token = await this.o.token();
            if (this.ws === ws) this.send([{ op: this.open ? 'token' : 'auth', id: 0, token }]);
        } catch (e) {
            if (this.ws === ws && !this.open) this.lost(`no token: ${String(e)}`);
        }
    }
    private look(): void { // a connection that says nothing may be dead
        const quiet = Date.now() - this.heard;
        if (quiet > this.quietMs * 1.5) this.lost('nothing was heard');
        else if (quiet > this.quietMs && this.open) this.send([{ op: 'ping' }]);
    }
    private detach(reason: string): WebSocketLike | null {
        const ws = this.ws;
        this.ws = null;
        this.open = false;
        this.standsFor = 1;
        this.byTopic.clear();
        clearInterval(this.aliveTimer);
        clearTimeout(this.tokenTimer);
        const waiting = [...this.waiting.values()];
        this.waiting.clear();
        for (const w of waiting) { clearTimeout(w.timer); w.reject(new TierlineError('DISCONNECTED', reason)); }
        return ws;
    }
    private lost(reason: string): void {
        try { this.detach(reason)?.close(); } catch { /* it was not even open */ }
        this.later(reason);
    }
    private later(reason: string): void {
        if (this.ended) return;
        const [first, most] = this.o.backoffMs ?? [500, 30000];
        const jitter = (this.o.random ?? Math.random)() * Math.min(most, first * 2 ** Math.min(this.tries++, 20));
        const retryMs = this.byeMs + jitter;
        this.byeMs = 0;
        this.retryTimer = setTimeout(() => { this.retryTimer = undefined; void this.connect(); }, retryMs);
        this.say({ state: 'waiting', reason, retryMs });
    }

    // ---- documents ----

    private send(docs: object[]): void {
        for (let i = 0; i < docs.length; i += DOCUMENTS)
            this.ws?.send(docs.slice(i, i + DOCUMENTS).map((d) => JSON.stringify(d)).join('\n'));
    }
    private subscribing(s: Sub): object {
        s.id = ++this.ids;
        const o = s.options;
        return { op: 'subscribe', id: s.id, topics: [s.topic], since: s.position ?? undefined, mode: o.mode, max_hz: o.maxHz };
    }
    private ask(doc: object): Promise<any> {
        const ms = this.o.requestMs ?? 10000, id = ++this.ids;
        if (!this.open) return Promise.reject(new TierlineError('DISCONNECTED', 'not connected'));
        return new Promise((resolve, reject) => {
            const late = () => { this.waiting.delete(id); reject(new TierlineError('TIMEOUT', `no answer in ${ms} ms`)); };
            this.waiting.set(id, { resolve, reject, timer: setTimeout(late, ms) });
            this.send([{ ...doc, id }]);
        });
    }
    private message(text: string): void {
        this.heard = Date.now();
        const ws = this.ws;
        for (const line of text.split('\n')) {
            if (!line || this.ws !== ws) continue;
            let doc: any;
            try { doc = JSON.parse(line); } catch { return this.lost('not JSON'); }
            this.take(doc);
        }
    }
    private take(d: any): void {
        if (d.specversion) {
            const n = this.standsFor;
            this.standsFor = 1;
            this.byTopic.get(d.via ?? d.subject)?.takeEvent(d, n);
            return;
        }
        switch (d.op) {
            case 'hello': this.hello(d); break;
            case 'subscribed': this.subscribed(d); break;
            case 'snapshot': this.byTopic.get(d.topic)?.takeSnapshot(d); break;
            case 'conflated': this.standsFor = d.count; break; // of the event behind it
            case 'error': this.refused(d); break;
            case 'bye': this.byeMs = d.retry_ms; break; // the close follows
            case 'resync': case 'unsubscribed': break; // a snapshot follows; nothing does
            case 'history': case 'done': case 'pong': this.answered(d.id)?.resolve(d); break;
        }
    }
    private answered(id: number): Waiting | undefined {
        const w = this.waiting.get(id);
        this.waiting.delete(id);
        clearTimeout(w?.timer);
        return w;
    }
    private hello(d: any): void {
        if (this.o.token && d.id !== 0) return; // anybody may read here; who we are is still to be said
        if (d.expires_ms !== null && this.o.token) { // in its last fifth, or half a minute before the end
            const left = Math.max(0, d.expires_ms - d.time_ms);
            clearTimeout(this.tokenTimer);
            const wait = Math.min(Math.max(left * 0.8, left - 30000, 1000), 2 ** 31 - 1);
            this.tokenTimer = setTimeout(() => void this.authenticate(), wait);
        }
        if (this.open) return; // a token was refreshed
        this.open = true;
        this.tries = 0;
        this.send([...this.subs].map((s) => this.subscribing(s)));
        this.say({ state: 'open' });
    }
    private subscribed(d: any): void {
        const other = this.byTopic.get(d.topic);
        for (const s of this.subs) {
            if (s.id !== d.id) continue;
            if (other && other !== s) {
                this.subs.delete(other);
                call(() => other.on.error?.(new TierlineError('CONFLICT', `${s.asked} is the same topic`, d.topic)));
            }
            if (s.topic !== d.topic && s.position) s.seen = new Map([[d.topic, s.position]]);
            s.topic = d.topic;
            this.byTopic.set(d.topic, s);
        }
    }
    private refused(d: any): void {
        if (d.id === 0 && !this.open) return this.lost(`refused: ${d.detail}`); // the token; of a refresh, the old one goes on
        const error = new TierlineError(d.code, d.detail, d.topic);
        const w = typeof d.id === 'number' ? this.answered(d.id) : undefined;
        if (w) { w.reject(error); return; }
        for (const s of this.subs) {
            const its = d.id !== undefined ? s.id === d.id : this.byTopic.get(d.topic) === s;
            if (!its) continue;
            this.subs.delete(s);
            if (this.byTopic.get(s.topic) === s) this.byTopic.delete(s.topic);
            call(() => s.on.error?.(error));
        }
    }
}
