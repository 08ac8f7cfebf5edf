// SPDX-License-Identifier: Apache-2.0
// A server with tokens: asks for one, refuses a wrong one in its own words, shows without letting change, and never has a
// token in an address.
import assert from 'node:assert/strict';
import { type Watched } from './browser.js';
import { look, worldOf } from './look.js';
import { QUIET, World } from './world.js';

const tokens = { read: '', write: '' };
const world = worldOf(async () => {
    const w = await World.begin({ symbols: 40, config: QUIET });
    for (const scope of ['read', 'write'] as const)
        tokens[scope] = w.run('token', 'create', scope, '--scope', scope).split('\n').find((l) => l.startsWith('tl_'))!.trim();
    await w.end(w.server, 'SIGTERM');
    await w.again();
    await w.good('POST', 'jobs', { symbols: 'all', set: 'daily', name: 'shown' }, { token: tokens.write });
    return w;
});
const wrong = `tl_${'A'.repeat(43)}`;
const REFUSED = [/401 \(/];

async function enter(p: Watched, token: string): Promise<void> {
    await p.t('sign-in').locator('input[type=password]').fill(token);
    await p.t('sign-in').locator('button').click();
}
async function refusalOf(w: World, token: string): Promise<string> {
    const r = await w.ask('GET', 'whoami', undefined, { token });
    assert.equal(r.status, 401);
    return ((await r.json()) as { detail: string }).detail;
}
function neverInAnAddress(p: Watched): void {
    const secrets = [wrong, tokens.read, tokens.write];
    for (const url of [...p.requests.map((r) => r.url), ...p.sockets, p.page.url()])
        assert.ok(!secrets.some((s) => url.includes(s) || url.includes(s.slice(3))), `a token in ${url}`);
    for (const r of p.requests) assert.ok(!secrets.some((s) => (r.headers['referer'] ?? '').includes(s)));
    assert.ok(p.sockets.every((url) => !/token=/.test(url)));
}

look('a token is asked for, a wrong one refused by the server\'s words, the right one works', world, { complaints: REFUSED }, async (p, w) => {
    await p.seen('the form', p.t('sign-in'));
    assert.equal(await p.t('job-row').count(), 0);
    await enter(p, wrong);
    await p.shows('the refusal', 10000, () => p.text(p.page.locator('[data-test=sign-in] [role=alert]')), await refusalOf(w, wrong));
    await enter(p, tokens.write);
    await p.seen('the jobs', p.t('job-row'));
    await p.seen('that it is live', p.page.locator('.live.open'));
    assert.ok(p.sockets.length >= 1 && p.sockets.every((url) => /\/ws\?ticket=/.test(url)), 'a ticket stands for the token');
    assert.ok(await p.t('start-job').first().isEnabled());
    await p.page.reload();
    await p.seen('the jobs again, without asking', p.t('job-row'));
    neverInAnAddress(p);
    assert.equal(await p.page.evaluate(() => localStorage.getItem('tierline.token')), null, 'kept in this tab alone');
});

look('who may only read sees all, and can start and cancel nothing', world, { complaints: REFUSED }, async (p, w) => {
    await p.seen('the form', p.t('sign-in'));
    await enter(p, tokens.read);
    await p.seen('the jobs', p.t('job-row'));
    assert.ok(!(await p.t('start-job').first().isEnabled()), 'start');
    const job = (await w.good('GET', 'jobs?limit=1', undefined, { token: tokens.read })).jobs[0].id as string;
    await p.go(`#/jobs/${job}`);
    await p.seen('the grid', p.t('grid'));
    for (const name of ['cancel', 'retry'])
        for (const button of await p.t(name).all()) assert.ok(!(await button.isEnabled()), name);
    neverInAnAddress(p);
});

look('a token that is revoked asks for another; one that is kept is there in the next tab', world, { complaints: [...REFUSED, /WebSocket/] }, async (p, w) => {
    const gone = w.run('token', 'create', 'gone', '--scope', 'read').split('\n').find((l) => l.startsWith('tl_'))!.trim();
    await p.seen('the form', p.t('sign-in'));
    await p.t('sign-in').locator('input[type=checkbox]').check();
    await p.t('sign-in').locator('input[type=password]').fill(gone);
    await p.shows('that the server knows it', 5000, async () => (await w.ask('GET', 'whoami', undefined, { token: gone })).status, 200);
    await p.t('sign-in').locator('button').click();
    await p.seen('the jobs', p.t('job-row'));
    assert.equal(await p.page.evaluate(() => localStorage.getItem('tierline.token')), gone);
    const tab = await p.context.newPage();
    await tab.goto(`${w.http}/#/jobs`);
    await tab.locator('[data-test=job-row]').first().waitFor({ timeout: 10000 });
    await tab.close();
    w.run('token', 'revoke', 'gone');
    await p.seen('the form again', p.t('sign-in'), 20000);
    neverInAnAddress(p);
});
