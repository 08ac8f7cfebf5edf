// SPDX-License-Identifier: Apache-2.0
// A row for tools/bench: frames a second that the grid of 5,000 symbols draws under 10,000 events a second.
import { Bare } from './bare.js';
import { load } from './load_run.js';
import { QUIET, World } from './world.js';

const world = await World.begin({ config: QUIET });
try {
    if (!(await world.hasDashboard())) {
        console.log('the server was built without the dashboard: nothing is measured');
        process.exitCode = 77;
    } else {
        const page = await Bare.open(world, '#/jobs');
        const { framesPerS } = await load(page, { id: 'load', symbols: 5000, perSecond: 10000, seconds: 10, calm: true }).finally(() => page.close());
        console.log(JSON.stringify({
            name: 'dashboard_frames_per_s_at_10000_events', value: Math.round(framesPerS * 10) / 10, unit: 'frames/s',
            peer: null, peer_value: null, ratio: null, bound: null, holds: null,
        }));
    }
} finally {
    await world.close();
}
