// SPDX-License-Identifier: Apache-2.0
// The client against a server that follows a script: what it does when events come twice, connections end, answers do
// not come, tokens run out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { type Snapshot, type Status, Tierline, type TierlineEvent, comparePositions } from '../src/client/tierline.js';
import { sleep, until } from './real.js';

type Doc = Record<string, any>;

/** Says hello, acknowledges subscriptions, keeps what it was sent; the rest is each test's. */
class Scripted {
    got: Doc[] = [];
    sockets: WebSocket[] = [];
    hello: Doc | null = { op: 'hello', protocol: 'tierline.v1', name: 'local', scope: 'admin', expires_ms: null, time_ms: 0 };
    on: (doc: Doc, ws: WebSocket) => void = () => {};
    private readonly server = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: () => 'tierline.v1' });
    readonly listening = new Promise((done) => { this.server.on('listening', done); });
    constructor() {
        this.server.on('connection', (ws) => {
            this.sockets.push(ws);
            if (this.hello) this.say(this.hello);
            ws.on('message', (data) => {
                for (const line of String(data).split('\n')) {
                    const doc = JSON.parse(line) as Doc;
                    this.got.push(doc);
                    if (doc.op === 'subscribe') this.say({ op: 'subscribed', id: doc.id, topic: doc.topics[0], asked: doc.topics[0] });
                    this.on(doc, ws);
                }
            });
        });
    }
    get url(): string { return `ws://127.0.0.1:${(this.server.address() as { port: number }).port}/ws`; }
    get now(): WebSocket { return this.sockets[this.sockets.length - 1]!; }
    of(op: string): Doc[] { return this.got.filter((d) => d.op === op); }
    say(...docs: Doc[]): void { this.now.send(docs.map((d) => JSON.stringify(d)).join('\n')); }
    close(): void {
        for (const s of this.sockets) s.terminate();
        this.server.close();
    }
}

const event = (subject: string, sequence: string, type = 'task.item.completed.v1', more: Doc = {}): Doc =>
    ({ specversion: '1.0', id: `${subject}/${sequence}`, source: 'tierline/x', type, subject, time: '2024-01-02T03:04:05.678Z', sequence, data: {}, ...more });
const snapshot = (topic: string, position: string | null, data: unknown = null, recovered = false): Doc => ({ op: 'snapshot', topic, position, recovered, data });

interface Seen { events: [TierlineEvent, number][]; snapshots: Snapshot[]; errors: Error[]; sequences(): (string | undefined)[] }
function watcher(): Seen & { event(e: TierlineEvent, n: number): void; snapshot(s: Snapshot): void; error(e: Error): void } {
    const w = {
        events: [] as [TierlineEvent, number][], snapshots: [] as Snapshot[], errors: [] as Error[],
        event(e: TierlineEvent, n: number) { w.events.push([e, n]); },
        snapshot(s: Snapshot) { w.snapshots.push(s); },
        error(e: Error) { w.errors.push(e); },
        sequences: () => w.events.map(([e]) => e.sequence),
    };
    return w;
}
async function scripted(run: (s: Scripted, open: (o?: object) => { client: Tierline; statuses: Status[] }) => Promise<void>): Promise<void> {
    const s = new Scripted(), clients: Tierline[] = [];
    try {
        await s.listening;
        await run(s, (o = {}) => {
            const statuses: Status[] = [];
            const client = new Tierline({ url: s.url, WebSocket, backoffMs: [20, 80], status: (x) => { statuses.push(x); }, ...o });
            clients.push(client);
            return { client, statuses };
        });
    } finally { for (const c of clients) c.close(); s.close(); }
}

test('positions are compared number by number', () => {
    assert.ok(comparePositions('9-2', '10-1') < 0);
    assert.ok(comparePositions('10-10', '10-9') > 0);
    assert.equal(comparePositions('1700000000000-12', '1700000000000-12'), 0);
});

test('each event once: repeated ones are dropped, resuming goes on behind the last', () => scripted(async (s, open) => {
    const w = watcher(), { client } = open();
    const sub = client.subscribe('task/a', w);
    await until('a subscription', 2000, () => s.of('subscribe').length === 1);
    assert.deepEqual(s.of('subscribe')[0], { op: 'subscribe', id: 1, topics: ['task/a'] });
    s.say(snapshot('task/a', '5-1'), event('task/a', '5-1'), event('task/a', '5-2'), event('task/a', '5-3'));
    await until('events', 2000, () => w.events.length === 2);
    s.now.terminate();
    await until('a second subscription', 2000, () => s.of('subscribe').length === 2);
    assert.equal(s.of('subscribe')[1]!.since, '5-3');
    s.say(snapshot('task/a', '5-3', null, true), event('task/a', '5-2'), event('task/a', '5-3'), event('task/a', '5-4'), event('task/a', '9-1'));
    await until('the rest', 2000, () => w.events.length === 4);
    s.say({ op: 'resync', topic: 'task/a' }, snapshot('task/a', '9-1', null, true), event('task/a', '9-1'), event('task/a', '9-2'));
    await until('one more', 2000, () => w.events.length === 5);
    assert.deepEqual(w.sequences(), ['5-2', '5-3', '5-4', '9-1', '9-2']);
    assert.deepEqual(w.snapshots.map((x) => x.lost), [false]);
    assert.equal(sub.position, '9-2');
}));

test('what may be missing is said before anything later', () => scripted(async (s, open) => {
    const w = watcher(), given = watcher(), order: string[] = [], { client } = open();
    client.subscribe('task/a', { event: (e, n) => { order.push(e.sequence!); w.event(e, n); }, snapshot: (x) => { order.push(`${x.position} ${x.lost}`); } });
    client.subscribe('task/b', given, { since: '3-3' });
    await until('subscriptions', 2000, () => s.of('subscribe').length === 2);
    s.say(snapshot('task/a', '5-5', { done: 1 }), event('task/a', '5-6'), snapshot('task/b', '3-9'));
    await until('the first', 2000, () => given.snapshots.length === 1);
    assert.equal(given.snapshots[0]!.lost, true, 'since was given and not found');
    s.now.terminate();
    await until('them again', 2000, () => s.of('subscribe').length === 4);
    s.say(snapshot('task/a', '5-20', { done: 15 }), event('task/a', '5-20'), event('task/a', '5-21'));
    await until('the later one', 2000, () => w.events.length === 2);
    s.say(snapshot('task/a', '5-21'), snapshot('task/a', null)); // nothing between; all forgotten
    await until('four snapshots', 2000, () => order.length === 6);
    assert.deepEqual(order, ['5-5 false', '5-6', '5-20 true', '5-21', '5-21 false', 'null true']);
}));

test('all tasks, and one of them beside: each subscription has its own', () => scripted(async (s, open) => {
    const all = watcher(), one = watcher(), { client } = open();
    client.subscribe('tasks', all);
    client.subscribe('task/a', one);
    await until('subscriptions', 2000, () => s.of('subscribe').length === 2);
    s.say(snapshot('tasks', null, { tasks: [{ task: 'a', position: '5-2' }], more: false }), event('task/a', '5-2', 'task.started.v1', { via: 'tasks' }));
    s.say(event('task/a', '5-4', 'task.failed.v1', { via: 'tasks' }), snapshot('task/a', '5-2'), event('task/a', '5-3'), event('task/a', '5-4', 'task.failed.v1'));
    await until('both', 2000, () => all.events.length === 1 && one.events.length === 2);
    assert.deepEqual(all.sequences(), ['5-4']);
    assert.deepEqual(one.sequences(), ['5-3', '5-4']);
    s.now.terminate();
    await until('subscriptions again', 2000, () => s.of('subscribe').length === 4);
    assert.deepEqual(s.of('subscribe').slice(2).map((d) => d.since), [undefined, '5-4']);
    s.say(snapshot('tasks', null, { tasks: [{ task: 'a', position: '5-4' }, { task: 'b', position: '7-3' }], more: false }));
    s.say(event('task/b', '7-3', 'task.started.v1', { via: 'tasks' }), event('task/b', '7-4', 'task.completed.v1', { via: 'tasks' }));
    await until('the end of b', 2000, () => all.events.length === 2);
    assert.deepEqual(all.snapshots.map((x) => x.lost), [false, true]);
}));

test('states: how many one stands for; without a position nothing is dropped', () => scripted(async (s, open) => {
    const w = watcher(), { client } = open();
    client.subscribe('market/AAPL', w, { mode: 'latest', maxHz: 2 });
    await until('a subscription', 2000, () => s.of('subscribe').length === 1);
    assert.deepEqual(s.of('subscribe')[0], { op: 'subscribe', id: 1, topics: ['market/AAPL'], mode: 'latest', max_hz: 2 });
    const state = event('market/AAPL', '', 'market.update.v1');
    delete state.sequence;
    s.say(snapshot('market/AAPL', null), state, { op: 'conflated', topic: 'market/AAPL', count: 7 }, state, state);
    await until('three', 2000, () => w.events.length === 3);
    assert.deepEqual(w.events.map(([, n]) => n), [1, 7, 1]);
}));

test('a subscription that ends: by its owner, by the server', () => scripted(async (s, open) => {
    const a = watcher(), b = watcher(), { client } = open();
    const sub = client.subscribe('task/a', a);
    client.subscribe('task/b', b);
    await until('subscriptions', 2000, () => s.of('subscribe').length === 2);
    sub.close();
    sub.close();
    await until('its end', 2000, () => s.of('unsubscribe').length === 1);
    s.say(event('task/a', '5-1'), { op: 'error', code: 'FULL', topic: 'task/b', detail: 'the subscription is over' }, event('task/b', '5-1'));
    await until('an error', 2000, () => b.errors.length === 1);
    assert.equal((b.errors[0] as { code?: string }).code, 'FULL');
    s.now.terminate();
    await until('the next connection', 2000, () => s.sockets.length === 2);
    await sleep(50);
    assert.equal(s.of('subscribe').length, 2);
    assert.equal(a.events.length + b.events.length, 0);
}));

test('what a callback throws is not lost, and what follows comes', () => scripted(async (s, open) => {
    const thrown: unknown[] = [], keep = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (e) => { thrown.push(e); });
    try {
        const { client } = open();
        let n = 0;
        client.subscribe('task/a', { event: () => { if (++n === 1) throw new Error('mine'); } });
        await until('a subscription', 2000, () => s.of('subscribe').length === 1);
        s.say(snapshot('task/a', null), event('task/a', '5-1'), event('task/a', '5-2'));
        await until('both', 2000, () => n === 2 && thrown.length === 1);
        assert.equal((thrown[0] as Error).message, 'mine');
    } finally {
        process.removeAllListeners('uncaughtException');
        for (const f of keep) process.on('uncaughtException', f);
    }
}));

test('waiting: full jitter within bounds that double, and not before a goodbye allows it', () => scripted(async (s, open) => {
    s.hello = null; // nobody gets in
    s.on = () => {};
    const { statuses } = open({ random: () => 1, backoffMs: [10, 50] });
    for (let i = 1; i <= 5; i++) {
        await until('a connection', 2000, () => s.sockets.length === i);
        s.now.terminate();
    }
    await until('five waits', 2000, () => statuses.filter((x) => x.state === 'waiting').length === 5);
    assert.deepEqual(statuses.filter((x) => x.state === 'waiting').map((x) => x.retryMs), [10, 20, 40, 50, 50]);
    s.hello = { op: 'hello', expires_ms: null };
    await until('to be let in', 2000, () => statuses.some((x) => x.state === 'open'));
    s.say({ op: 'bye', reason: 'the server is going away', retry_ms: 300 });
    s.now.close(1001);
    const at = Date.now();
    await until('a wait', 2000, () => statuses.filter((x) => x.state === 'waiting').length === 6);
    assert.equal(statuses.filter((x) => x.state === 'waiting')[5]!.retryMs, 310, 'let in: the doubling begins anew');
    const n = s.sockets.length;
    await until('it again', 2000, () => s.sockets.length === n + 1);
    assert.ok(Date.now() - at >= 300);
}));

test('a connection that says nothing: a ping, then another connection', () => scripted(async (s, open) => {
    const { client, statuses } = open({ quietMs: 100, requestMs: 60 });
    await until('open', 2000, () => statuses.some((x) => x.state === 'open'));
    await until('a ping', 2000, () => s.of('ping').length > 0);
    await until('another connection', 2000, () => s.sockets.length === 2);
    assert.ok(statuses.some((x) => x.reason === 'nothing was heard'));
    await until('open again', 2000, () => statuses[statuses.length - 1]!.state === 'open');
    await assert.rejects(client.history('task/a'), { code: 'TIMEOUT' });
    s.on = (d) => { if (d.op === 'ping') s.say({ op: 'pong', id: d.id }); };
    await sleep(300);
    assert.equal(s.sockets.length, 2, 'it answers: it stays');
    const asked = client.retry('a');
    s.now.terminate();
    await assert.rejects(asked, { code: 'DISCONNECTED' });
}));

test('woken: it connects at once while it waits; one that does not answer is given up soon, one that does stays', () => scripted(async (s, open) => {
    const waits = open({ backoffMs: [60000, 60000], random: () => 1 });
    waits.client.wake(); // on its way already: nothing more is asked for
    await until('open', 2000, () => waits.statuses.some((x) => x.state === 'open'));
    assert.equal(s.sockets.length, 1);
    s.now.terminate();
    await until('a wait', 2000, () => waits.statuses[waits.statuses.length - 1]!.state === 'waiting');
    assert.equal(waits.statuses[waits.statuses.length - 1]!.retryMs, 60000);
    let at = Date.now();
    waits.client.wake();
    waits.client.wake();
    await until('open again', 2000, () => waits.statuses[waits.statuses.length - 1]!.state === 'open');
    assert.ok(Date.now() - at < 1000);
    await sleep(100);
    assert.equal(s.sockets.length, 2, 'one try, however often it is woken');

    s.on = (d) => { if (d.op === 'ping') s.say({ op: 'pong', id: d.id }); };
    waits.client.wake();
    await until('the question', 2000, () => s.of('ping').length === 1);
    await sleep(3300);
    assert.equal(waits.statuses[waits.statuses.length - 1]!.state, 'open', 'it answered');
    s.on = () => {}; // as if the network were gone: no close comes, nothing is answered
    at = Date.now();
    waits.client.wake();
    await until('that to be noticed', 5000, () => waits.statuses[waits.statuses.length - 1]!.state === 'waiting');
    assert.ok(Date.now() - at >= 2500, 'an answer may take its time');
    assert.equal(waits.statuses[waits.statuses.length - 1]!.reason, 'nothing was heard');
    waits.client.close();
    waits.client.wake();
    await sleep(100);
    assert.equal(s.sockets.length, 2, 'closed: nothing wakes it');
}));

test('a token is said, refreshed before it runs out, and asked for anew by each connection', () => scripted(async (s, open) => {
    s.hello = { op: 'hello', expires_ms: null, name: 'anonymous', time_ms: 0 }; // anybody may read: still not us
    let n = 0;
    s.on = (d) => {
        if (d.op === 'auth' || d.op === 'token') s.say({ op: 'hello', id: d.id, expires_ms: 101000, time_ms: 100000, name: 'web' });
    };
    const { client, statuses } = open({ token: async () => `t${++n}` });
    client.subscribe('tasks', watcher());
    await until('the first token', 2000, () => s.of('auth').length === 1);
    await until('open', 2000, () => statuses.some((x) => x.state === 'open'));
    await until('a subscription', 2000, () => s.of('subscribe').length === 1);
    await until('a refresh', 3000, () => s.of('token').length === 1);
    assert.equal(s.of('token')[0]!.token, 't2');
    assert.equal(statuses.filter((x) => x.state === 'open').length, 1);
    s.now.terminate();
    await until('the next', 2000, () => s.of('auth').length === 2);
    const said = s.got.filter((d) => d.token).map((d) => d.token); // of auth, token, ..., auth
    assert.deepEqual(said, said.map((_, i) => `t${i + 1}`));
}));

test('a token that is refused, none to be had, no WebSocket', () => scripted(async (s, open) => {
    s.hello = null;
    s.on = (d) => { if (d.op === 'auth') s.say({ op: 'error', id: d.id, code: 'UNAUTHENTICATED', detail: 'the token is not valid' }); };
    const refused = open({ token: () => 'x' });
    await until('a refusal', 2000, () => refused.statuses.some((x) => x.reason === 'refused: the token is not valid'));
    await until('another try', 2000, () => s.of('auth').length >= 2);
    const none = open({ token: () => Promise.reject(new Error('logged out')) });
    await until('a reason', 2000, () => none.statuses.some((x) => /logged out/.test(x.reason ?? '')));
    const ticketless = open({ ticket: () => Promise.reject(new Error('no ticket')) });
    await until('a reason', 2000, () => ticketless.statuses.some((x) => /no ticket/.test(x.reason ?? '')));
    const nowhere = open({ WebSocket: class { constructor() { throw new Error('not here'); } } });
    await until('a reason', 2000, () => nowhere.statuses.some((x) => /not here/.test(x.reason ?? '')));
}));

test('closed: nothing is tried again, and questions end', () => scripted(async (s, open) => {
    const { client, statuses } = open();
    await until('open', 2000, () => statuses.some((x) => x.state === 'open'));
    const asked = client.ping();
    client.close();
    await assert.rejects(asked, { code: 'DISCONNECTED' });
    await assert.rejects(client.ping(), { code: 'DISCONNECTED' });
    await sleep(150);
    assert.equal(s.sockets.length, 1);
    assert.equal(statuses[statuses.length - 1]!.state, 'closed');
}));
