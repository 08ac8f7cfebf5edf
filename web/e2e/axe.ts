// SPDX-License-Identifier: Apache-2.0
// What axe-core finds on the page as it is: what is serious or critical is answered, the rest printed.
import axe from 'axe-core';
import { type Watched } from './browser.js';

export async function serious(p: Watched): Promise<string[]> {
    await p.page.evaluate(axe.source);
    const found = await p.page.evaluate(async () => (await (window as unknown as { axe: typeof axe }).axe.run(document, { resultTypes: ['violations'] })).violations);
    const bad: string[] = [];
    for (const v of found) {
        const text = `${v.id} (${v.impact}): ${v.help}${v.nodes.slice(0, 4).map((n) => `\n    ${n.target.join(' ')}: ${(n.failureSummary ?? '').replace(/\s+/g, ' ').slice(0, 300)}`).join('')}`;
        if (v.impact === 'serious' || v.impact === 'critical') bad.push(text);
        else console.log(`# ${p.page.url().replace(/^[^#]*/, '')}: ${text.replace(/\n\s*/g, ' ')}`);
    }
    return bad;
}
