// SPDX-License-Identifier: Apache-2.0
// npm's ws, as it is, against a real server: subscribe, snapshot, events, pings, big and bad messages, closes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Real, binary, until } from './real.js';

type Doc = Record<string, any>;
const skip = binary ? false : 'TL_TEST_BINARY is not set';
let real: Real;
before(async () => {
    if (skip) return;
    real = new Real();
    await real.serve();
});
after(async () => { if (!skip) await real.close(); });

class Raw {
    docs: Doc[] = [];
    pongs: string[] = [];
    code = 0;
    readonly ws: WebSocket;
    constructor(options: object = {}) {
        this.ws = new WebSocket(real.url, ['tierline.v1'], options);
        this.ws.on('message', (data) => { for (const line of String(data).split('\n')) this.docs.push(JSON.parse(line)); });
        this.ws.on('pong', (data) => { this.pongs.push(String(data)); });
        this.ws.on('close', (code) => { this.code = code; });
        this.ws.on('error', () => {});
    }
    send(...docs: Doc[]): void { this.ws.send(docs.map((d) => JSON.stringify(d)).join('\n')); }
    has(what: string, op: string, n = 1): Promise<void> { return until(what, 10000, () => this.of(op).length >= n); }
    of(op: string): Doc[] { return this.docs.filter((d) => d.op === op); }
}
const publish = (task: string, events: Doc[], term = '') => fetch(`${real.http}/api/v1/tasks/${task}/events${term}`,
    { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(events) }).then((r) => { assert.equal(r.status, 200); return r.json(); });

test('100 sockets see every event of a task once and in order', { skip, timeout: 30000 }, async () => {
    const all = Array.from({ length: 100 }, () => new Raw());
    for (const s of all) s.ws.on('open', () => s.send({ op: 'subscribe', topics: ['task/many'] }));
    await until('snapshots', 10000, () => all.every((s) => s.of('snapshot').length === 1));
    const { term } = await publish('many', [{ type: 'task.started.v1', data: { total: 200 } }]);
    for (let i = 0; i < 10; i++)
        await publish('many', Array.from({ length: 20 }, (_, k) => ({ type: 'task.item.completed.v1', data: { item: `S${i}-${k}`, note: 'x'.repeat(500) } })), `?term=${term}`);
    await publish('many', [{ type: 'task.completed.v1', data: { done: 200 } }], `?term=${term}`);
    const life = (s: Raw) => s.docs.filter((d) => d.specversion && d.type !== 'task.progress.v1');
    await until('the end everywhere', 10000, () => all.every((s) => life(s).some((d) => d.type === 'task.completed.v1')));
    for (const s of all) {
        assert.equal(life(s).length, 202);
        assert.deepEqual(life(s).map((d) => d.id), life(all[0]!).map((d) => d.id));
        assert.ok(life(s).every((d, i) => i === 0 || Number(d.sequence.split('-')[1]) > Number(life(s)[i - 1]!.sequence.split('-')[1])));
        s.ws.close(1000, 'enough');
    }
    await until('closes', 5000, () => all.every((s) => s.code === 1000));
});

test('compression is offered and not taken; pings of both kinds; big, bad and binary messages', { skip, timeout: 20000 }, async () => {
    const s = new Raw({ perMessageDeflate: true });
    await s.has('hello', 'hello');
    assert.equal(s.ws.protocol, 'tierline.v1');
    assert.equal(s.ws.extensions, '');
    for (let i = 0; i < 20; i++) s.ws.ping(`p${i}`);
    await until('a pong to the last', 5000, () => s.pongs.includes('p19')); // one may stand for those before it
    s.send({ op: 'ping', id: 'a' }, { op: 'ping', id: 2 });
    await s.has('two pongs', 'pong', 2);
    assert.deepEqual(s.of('pong').map((d) => d.id), ['a', 2]);
    s.ws.send('{"op":"ping"', { fin: false });
    s.ws.send(',"id":3}', { fin: true });
    await s.has('a pong for pieces', 'pong', 3);
    s.ws.send('nonsense');
    s.send({ op: 'nonsense' }, { op: 'subscribe', topics: ['nonsense'] }, { op: 'ping', pad: 'x'.repeat(65000) });
    await s.has('errors', 'error', 3);
    assert.deepEqual(s.of('error').map((d) => d.code), ['PARSE', 'INVALID', 'INVALID']);
    await s.has('a pong for a big one', 'pong', 4);
    s.ws.send('x'.repeat(65537));
    await until('too big', 5000, () => s.code === 1009);
    const b = new Raw();
    await b.has('hello', 'hello');
    b.ws.send(Buffer.from([1, 2, 3]));
    await until('not text', 5000, () => b.code === 1003);
});

test('answers that are not read are kept to a bound, and then it is over', { skip, timeout: 30000 }, async () => {
    const s = new Raw();
    await s.has('hello', 'hello');
    s.ws.pause();
    const batch = Array.from({ length: 100 }, () => JSON.stringify({ op: 'subscribe', topics: [`nonsense/${'x'.repeat(180)}`] })).join('\n');
    for (let i = 0; i < 400 && s.ws.readyState === WebSocket.OPEN; i++) s.ws.send(batch);
    await until('all to be sent', 15000, () => s.ws.bufferedAmount === 0 || s.ws.readyState !== WebSocket.OPEN);
    s.ws.resume();
    await until('its end', 15000, () => s.code !== 0);
    assert.equal(s.code, 1008);
    const after = new Raw();
    await after.has('hello to the next', 'hello');
    after.ws.close();
});
