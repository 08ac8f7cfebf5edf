// SPDX-License-Identifier: Apache-2.0
// The one WebSocket of the page, and who wants what of it. A topic is subscribed once for all who open it; one who comes
// later gets the last snapshot first. Listeners are called outside Vue's reactivity, as fast as events come: who shows
// them collects them and hands them to Vue once a frame (see `perFrame`).
import { reactive, readonly } from 'vue';
import { WorkerSocket } from './socket';
import { Tierline, type Snapshot, type Status, type SubscribeOptions, type Subscription, type TierlineEvent } from '../client/tierline';

export type { Snapshot, TierlineEvent } from '../client/tierline';

export interface Listener {
    event(event: TierlineEvent, standsFor: number): void;
    snapshot?(snapshot: Snapshot): void;
    error?(message: string): void;
}
interface Opened { subscription: Subscription | null; listeners: Set<Listener>; snapshot: Snapshot | null; options: SubscribeOptions }
export interface Connection {
    state: Status['state'];
    reason: string;
    retryAt: number; // Date.now() of the next try, while it waits
    opened: number; // how often it was open
}

const connection = reactive<Connection>({ state: 'closed', reason: '', retryAt: 0, opened: 0 });
const topics = new Map<string, Opened>();
const UNAUTHENTICATED = 4401, AGAIN_MS = 5000;
const settings = { unauthenticated: (): void => undefined };
let client: Tierline | null = null;

export const live = readonly(connection);

function onStatus(s: Status): void {
    connection.state = s.state;
    connection.reason = s.reason ?? '';
    connection.retryAt = s.state === 'waiting' ? Date.now() + (s.retryMs ?? 0) : 0;
    if (s.state === 'open') connection.opened++;
    if (s.state === 'waiting' && connection.reason.startsWith(`closed: ${UNAUTHENTICATED}`)) settings.unauthenticated();
}

function begin(topic: string, o: Opened): void {
    try {
        o.subscription = subscribe(topic, o);
    } catch (e) { // another spelling of it is open
        queueMicrotask(() => {
            for (const l of o.listeners) l.error?.(e instanceof Error ? e.message : String(e));
        });
    }
}
function subscribe(topic: string, o: Opened): Subscription | null {
    return client?.subscribe(topic, {
        event(event, standsFor) {
            for (const l of o.listeners) l.event(event, standsFor);
        },
        snapshot(snapshot) {
            o.snapshot = snapshot;
            for (const l of o.listeners) l.snapshot?.(snapshot);
        },
        error(error) {
            o.subscription = null;
            for (const l of [...o.listeners]) l.error?.(`${error.code}: ${error.message}`);
            // For those who have nothing to say of it: it comes back by itself.
            const again = (): boolean => topics.get(topic) === o && !o.subscription && client !== null && [...o.listeners].some((l) => !l.error);
            setTimeout(() => { if (again()) begin(topic, o); }, AGAIN_MS);
        },
    }, o.options) ?? null;
}

/** ticket: of POST /api/v1/tickets, where a token is in use. unauthenticated: the server does not know us any more. */
export function connect(ticket: (() => Promise<string>) | undefined, unauthenticated: () => void): void {
    disconnect();
    settings.unauthenticated = unauthenticated;
    const url = new URL('ws', document.baseURI);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.hash = url.search = '';
    client = new Tierline({ url: url.href, WebSocket: WorkerSocket, status: onStatus, backoffMs: [300, 5000], ...(ticket && { ticket }) });
    for (const [topic, o] of topics) begin(topic, o);
}
export function disconnect(): void {
    client?.close();
    client = null;
    connection.opened = 0;
    for (const o of topics.values()) {
        o.subscription = null;
        o.snapshot = null;
    }
}
/** The machine has slept, or the network is back: do not wait. */
export function wake(): void {
    client?.wake();
}

/** Returns what closes it. */
export function open(topic: string, listener: Listener, options: SubscribeOptions = {}): () => void {
    let o = topics.get(topic);
    if (!o) {
        o = { subscription: null, listeners: new Set(), snapshot: null, options };
        topics.set(topic, o);
        o.listeners.add(listener);
        if (client) begin(topic, o);
    } else {
        o.listeners.add(listener);
        if (o.snapshot) listener.snapshot?.(o.snapshot);
    }
    const opened = o;
    return () => {
        opened.listeners.delete(listener);
        if (opened.listeners.size > 0 || topics.get(topic) !== opened) return;
        topics.delete(topic);
        opened.subscription?.close();
    };
}

/** f once in the next frame, however often it is asked for (in a page that is not seen: within a second). */
export function perFrame(f: () => void): { (): void; cancel(): void } {
    let frame = 0, timer = 0;
    const run = (): void => {
        cancelAnimationFrame(frame);
        clearTimeout(timer);
        frame = timer = 0;
        f();
    };
    const ask = (): void => {
        if (frame) return;
        frame = requestAnimationFrame(run);
        timer = window.setTimeout(run, 1000);
    };
    ask.cancel = (): void => {
        cancelAnimationFrame(frame);
        clearTimeout(timer);
        frame = timer = 0;
    };
    return ask;
}
