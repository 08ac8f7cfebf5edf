// SPDX-License-Identifier: Apache-2.0
// The client and a real server with a real Redis: a calculation of another process is watched from its start to its end
// while the server is killed and started again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Snapshot, type Status, Tierline, TierlineError, type TierlineEvent, comparePositions } from '../src/client/tierline.js';
import { Real, binary, sleep, until } from './real.js';

const skip = binary ? false : 'TL_TEST_BINARY is not set';
let real: Real;
before(async () => {
    if (skip) return;
    real = new Real();
    await real.startRedis();
    real.run('sample', 'm', '--symbols', '300', '--quiet');
    real.run('import', 'm/bars', '--quiet');
    await real.serve();
});
after(async () => { if (!skip) await real.close(); });

const isLife = (e: TierlineEvent) => e.type !== 'task.progress.v1';

class Watch {
    events: TierlineEvent[] = [];
    snapshots: Snapshot[] = [];
    errors: TierlineError[] = [];
    get life(): string[] { return this.events.filter(isLife).map((e) => e.sequence!); }
    get over(): boolean { return this.events.some((e) => /^task\.(completed|failed|cancelled)\.v1$/.test(e.type)); }
    readonly on = {
        event: (e: TierlineEvent) => { this.events.push(e); },
        snapshot: (s: Snapshot) => { this.snapshots.push(s); },
        error: (e: TierlineError) => { this.errors.push(e); },
    };
}
function open(more: object = {}): { client: Tierline; statuses: Status[] } {
    const statuses: Status[] = [];
    const client = new Tierline({ url: real.url, WebSocket, backoffMs: [50, 400], status: (s) => { statuses.push(s); }, ...more });
    return { client, statuses };
}
async function allOfHistory(client: Tierline, topic: string): Promise<TierlineEvent[]> {
    const all: TierlineEvent[] = [];
    for (let at: string | undefined; ;) {
        const page = await client.history(topic, at);
        assert.equal(page.complete, true);
        all.push(...page.events);
        at = page.position;
        if (!page.more) return all;
    }
}

test('a calculation elsewhere, watched from start to end while the server dies', { skip, timeout: 60000 }, async () => {
    const { client, statuses } = open();
    const tasks = new Watch(), task = new Watch();
    try {
        client.subscribe('tasks', tasks.on);
        await until('the list of tasks', 5000, () => tasks.snapshots.length === 1);
        const calc = real.start(binary, ['calc', '--quiet', '--workers', '1', '--store', 's.db', '--redis', real.redis]);
        await until('a task that starts', 10000, () => tasks.events.some((e) => e.type === 'task.started.v1'));
        const topic = tasks.events.find((e) => e.type === 'task.started.v1')!.subject;
        client.subscribe(topic, task.on, { since: '1-0' }); // from its beginning
        await until('items', 10000, () => task.events.length >= 15);
        calc.kill('SIGSTOP');
        await real.end(real.server);
        const before = task.life.length;
        await until('that it is noticed', 5000, () => statuses[statuses.length - 1]!.state !== 'open');
        calc.kill('SIGCONT'); // nobody listens to what happens now
        await sleep(150);
        calc.kill('SIGSTOP');
        await real.serve();
        await until('the client to be back', 10000, () => statuses[statuses.length - 1]!.state === 'open');
        await sleep(200);
        calc.kill('SIGCONT');
        await until('its end', 30000, () => task.over && tasks.over);

        const life = (await allOfHistory(client, topic)).filter(isLife).map((e) => e.sequence!);
        assert.ok(before > 10 && life.length > before + 10, `${before} of ${life.length} came before`);
        assert.deepEqual([task.events.filter(isLife)[0]!.type, task.events.filter((e) => e.type === 'task.started.v1').length], ['task.started.v1', 1]);
        assert.deepEqual(task.life, life, 'each once, in order, none missing');
        assert.deepEqual(task.snapshots, [], 'nothing was lost');
        const last = task.events[task.events.length - 1]!;
        assert.equal(last.type, 'task.completed.v1');
        assert.equal(last.data.state, 'completed');
        assert.equal(last.data.done, 300);
        // The list stands for what happened meanwhile, and says so.
        assert.equal(tasks.snapshots.length, 2);
        assert.equal(tasks.snapshots[1]!.lost, true);
        assert.equal(tasks.events.filter((e) => e.type === 'task.completed.v1').length, 1);
        assert.ok(tasks.events.every((e) => e.via === 'tasks' && !e.type.startsWith('task.item.')));
        assert.deepEqual([...tasks.errors, ...task.errors], []);
    } finally { client.close(); }
});

test('from the middle, and after a position that nobody keeps', { skip, timeout: 20000 }, async () => {
    const { client } = open();
    const tasks = new Watch(), whole = new Watch(), late = new Watch(), rest = new Watch();
    try {
        client.subscribe('tasks', tasks.on);
        await until('the list', 5000, () => tasks.snapshots.length === 1);
        const { task, position } = tasks.snapshots[0]!.data.tasks[0];
        const topic = `task/${task}`;
        const sub = client.subscribe(topic, late.on);
        await until('a snapshot', 5000, () => late.snapshots.length === 1);
        assert.equal(late.snapshots[0]!.data.state, 'completed');
        assert.equal(late.snapshots[0]!.lost, false);
        assert.equal(sub.position, position);
        assert.throws(() => client.subscribe(topic, late.on), { code: 'CONFLICT' });
        sub.close();
        const all = await allOfHistory(client, topic), middle = all[all.length - 20]!.sequence!;
        const sub2 = client.subscribe(topic, rest.on, { since: middle });
        await until('the last 19', 5000, () => rest.over);
        assert.deepEqual(rest.events.map((e) => e.sequence), all.slice(-19).map((e) => e.sequence));
        sub2.close();
        const ahead = `${Number(position.split('-')[0]) + 1000}-1`;
        client.subscribe(topic, whole.on, { since: ahead });
        await until('a snapshot instead', 8000, () => whole.snapshots.length === 1);
        assert.ok(comparePositions(whole.snapshots[0]!.position!, ahead) < 0);
    } finally { client.close(); }
});

test('jobs: cancelled, refused, answered in time', { skip, timeout: 20000 }, async () => {
    const { client, statuses } = open();
    try {
        await assert.rejects(client.ping(), { code: 'DISCONNECTED' });
        await until('open', 5000, () => statuses.some((s) => s.state === 'open'));
        assert.ok((await client.ping()) < 5000);
        await assert.rejects(client.cancel('nobody'), { code: 'NOT_FOUND' });
        await assert.rejects(client.retry('nobody'), { code: 'NOT_FOUND' });
        await assert.rejects(client.history('task/nobody'), { code: 'NOT_FOUND' });
        await assert.rejects(client.history('tasks'), { code: 'INVALID' });
        const made = await fetch(`${real.http}/api/v1/jobs`, { method: 'POST', headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ symbols: 'all', recompute: true }) });
        assert.equal(made.status, 202);
        const id: string = (await made.json()).id;
        const job = new Watch();
        client.subscribe(`task/${id}`, job.on, { since: '1-0' });
        await client.cancel(id).catch((e) => assert.equal(e.code, 'CONFLICT')); // it may be over already
        await until('the end of the job', 10000, () => job.over);
        const retried = client.retry(id); // those with short histories fail
        const again = await retried.catch((e) => { assert.equal(e.code, 'CONFLICT'); return null; });
        if (again) assert.notEqual(again, id);
    } finally { client.close(); }
});

test('markets by any spelling, statistics, bad topics', { skip, timeout: 20000 }, async () => {
    const { client } = open();
    const market = new Watch(), other = new Watch(), series = new Watch(), stats = new Watch(), bad = new Watch();
    try {
        const sub = client.subscribe('market/sh600000', market.on);
        client.subscribe('indicator/600000.SH/1d/sma(5)', series.on);
        client.subscribe('cache/stats', stats.on, { mode: 'latest', maxHz: 5 });
        client.subscribe('task/{x}', bad.on);
        await until('what was asked for', 8000, () => market.snapshots.length + market.events.length >= 2 &&
            series.events.some((e) => e.data.status === 'OK') && stats.events.length > 0 && bad.errors.length > 0);
        assert.equal(sub.topic, 'market/600000.SH');
        assert.equal(market.events[0]!.data.symbol, '600000.SH');
        assert.equal(series.events[0]!.subject, 'indicator/600000.SH/1d/SMA(5)');
        assert.equal(bad.errors[0]!.code, 'INVALID');
        assert.equal(bad.errors[0]!.topic, 'task/{x}');
        client.subscribe('market/SH.600000', other.on); // the same: it takes over
        await until('the first to be told', 5000, () => market.errors.length === 1);
        assert.equal(market.errors[0]!.code, 'CONFLICT');
        await until('a snapshot for the second', 5000, () => other.snapshots.length > 0);
    } finally { client.close(); }
});

test('tokens: none, wrong, right, refreshed; tickets; the server says goodbye', { skip, timeout: 40000 }, async () => {
    const token = real.run('token', 'create', 'web', '--scope', 'read').trim().split('\n').find((l) => l.startsWith('tl_'))!;
    await real.end(real.server, 'SIGTERM'); // one that has seen it lets nobody else in
    await real.serve();
    const wrong = open({ token: () => 'tl_' + 'A'.repeat(43) });
    await until('a refusal', 5000, () => wrong.statuses.some((s) => /token is not valid/.test(s.reason ?? '')));
    assert.ok(wrong.statuses.every((s) => s.state !== 'open'));
    wrong.client.close();
    let asked = 0;
    const right = open({ token: async () => { asked++; return token; } });
    const tasks = new Watch();
    right.client.subscribe('tasks', tasks.on);
    await until('the list', 5000, () => tasks.snapshots.length === 1);
    await assert.rejects(right.client.cancel('x'), { code: 'DENIED' });
    const byTicket = open({ ticket: async () => {
        const r = await fetch(`${real.http}/api/v1/tickets`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
        return (await r.json()).ticket;
    } });
    const list = new Watch();
    byTicket.client.subscribe('tasks', list.on);
    await until('the list by ticket', 5000, () => list.snapshots.length === 1);
    await real.end(real.server, 'SIGTERM');
    assert.equal(real.server!.exitCode, 0);
    await real.serve();
    await until('both to be back', 15000, () => tasks.snapshots.length === 2 && list.snapshots.length === 2);
    assert.equal(asked, 2);
    for (const s of [...right.statuses, ...byTicket.statuses])
        if (/1001/.test(s.reason ?? '')) assert.ok(s.retryMs! >= 1000, 'not before the server allows it');
    assert.ok(right.statuses.some((s) => /1001/.test(s.reason ?? '')));
    right.client.close();
    byTicket.client.close();
});
