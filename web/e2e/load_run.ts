// SPDX-License-Identifier: Apache-2.0
// A program's task that says as much as it is told to, and the frames that a page draws meanwhile.
import { sleep } from '../test/real.js';
import { type Bare } from './bare.js';
import { type Doc, eventually, ForeignTask, symbolsOf } from './world.js';

export interface Load {
    framesPerS: number; longestMs: number; eventsPerS: number;
    behindMs: number; // from the task's end to its being seen
    said: Doc; shown: Doc;
}
const BATCH = 500; // events in a request
const CALM = 1000; // events a second of the last round, which is what is left to be seen

/** Each symbol is told of in rounds; the last round, in which every tenth fails, says what is true in the end. */
export async function load(p: Bare, o: { id: string; symbols: number; perSecond: number; seconds: number; calm: boolean }): Promise<Load> {
    const task = new ForeignTask(p.world, o.id), symbols = symbolsOf(o.symbols);
    const rounds = Math.max(1, Math.round((o.perSecond * o.seconds) / o.symbols)), state = new Map<string, string>();
    let sent = 0;
    async function say(round: number, perSecond: number): Promise<void> {
        const began = performance.now();
        for (let n = 0; n < o.symbols; n += BATCH) {
            const events: Doc[] = symbols.slice(n, n + BATCH).map((symbol, i) => {
                if (round === rounds && i % 10 === 0) {
                    state.set(symbol, 'failed');
                    return { type: 'task.item.failed.v1', data: { symbol, spec: 'SMA(5)', status: 'NO_DATA', error: 'no bars' } };
                }
                state.set(symbol, round % 2 ? 'computed' : 'cache');
                return { type: 'task.item.completed.v1', data: { symbol, computed: round % 2, from_cache: 1 - (round % 2), waited: 0, ms: 1 } };
            });
            sent += events.length;
            const done = Math.min(o.symbols, n + BATCH);
            await task.say(...events, { type: 'task.progress.v1', data: { done, computed: sent, item: symbols[done - 1] } });
            await sleep(Math.max(0, (done / perSecond) * 1000 - (performance.now() - began)));
        }
    }

    await task.begin(o.symbols);
    await p.go(`#/jobs/${o.id}`);
    await eventually('the task on the page', 20000, () => p.attribute('grid', 'data-test'));
    await sleep(1000);
    await p.evaluate(() => {
        const w = window as unknown as { frames: number[] };
        w.frames = [];
        const tick = (at: number): void => { w.frames.push(at); requestAnimationFrame(tick); };
        requestAnimationFrame(tick);
    }, null);
    const began = performance.now();
    for (let round = 1; round < rounds + (o.calm ? 0 : 1); round++) await say(round, o.perSecond);
    const tookS = (performance.now() - began) / 1000, eventsPerS = sent / tookS;
    const frames = await p.evaluate(() => (window as unknown as { frames: number[] }).frames, null);
    if (o.calm) await say(rounds, CALM);

    const of = (s: string): number => [...state.values()].filter((x) => x === s).length, failed = of('failed');
    const said = { state: 'completed', done: o.symbols, failures: failed, computed: of('computed'), cache: of('cache'), failed, waiting: 0 };
    const value = async (name: string): Promise<number> => Number(await p.attribute(name, 'data-value'));
    const read = async (): Promise<Doc> => ({
        state: await p.attribute('job-state', 'data-state'), done: await value('job-done'), failures: await value('failures-count'),
        computed: await value('legend-computed'), cache: await value('legend-cache'), failed: await value('legend-failed'), waiting: await value('legend-waiting'),
    });
    await task.end({ done: o.symbols, failed, computed: sent });
    const ended = Date.now();
    await eventually('the end on the page', 60000, async () => (await p.attribute('job-state', 'data-state')) === 'completed').catch(async (e) => {
        throw new Error(`${e}; it shows: ${await p.evaluate(() => document.body.innerText.replace(/\s+/g, ' ').slice(0, 900), null)}`);
    });
    const behindMs = Date.now() - ended;
    const right = await eventually('the counts of what was said', 20000, async () => JSON.stringify(await read()) === JSON.stringify(said)).catch(() => false);
    const gaps = frames.slice(1).map((at, i) => at - frames[i]!);
    return {
        framesPerS: gaps.length > 0 ? (1000 * gaps.length) / (frames[frames.length - 1]! - frames[0]!) : 0, longestMs: Math.max(0, ...gaps),
        eventsPerS, behindMs, said, shown: right ? said : await read(),
    };
}
