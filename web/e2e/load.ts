// SPDX-License-Identifier: Apache-2.0
// The grid of 5,000 symbols under 10,000 events a second. How smooth it is is a figure; that the counts are right in the end
// is what is tested.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bare } from './bare.js';
import { load } from './load_run.js';
import { worldOf } from './look.js';
import { QUIET, World } from './world.js';

const alone = worldOf(() => World.begin({ config: QUIET })), shared = worldOf(() => World.begin({ redis: true, config: QUIET }));

async function measured(world: () => Promise<World>, o: Parameters<typeof load>[1]): Promise<void> {
    const p = await Bare.open(await world(), '#/jobs');
    try {
        const r = await load(p, o);
        console.log(`# ${r.framesPerS.toFixed(1)} frames a second at ${Math.round(r.eventsPerS)} events a second, the longest ${Math.round(r.longestMs)} ms; the end was seen after ${r.behindMs} ms`);
        assert.deepEqual(r.shown, r.said);
    } finally { await p.close(); }
}
test('10,000 events a second on a grid of 5,000, for seconds: right in the end', { timeout: 180000 }, () =>
    measured(alone, { id: 'long', symbols: 5000, perSecond: 10000, seconds: 8, calm: true }));

test('5,000 symbols in half a second, through Redis: each cell is right', { timeout: 180000 }, () =>
    measured(shared, { id: 'burst', symbols: 5000, perSecond: 10000, seconds: 0.5, calm: false }));
