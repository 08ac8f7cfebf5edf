// SPDX-License-Identifier: Apache-2.0
// An event in a line, for people.
import { t } from '../i18n';
import { bytes, count, percent } from './format';
import type { TierlineEvent } from './live';
import { TIERS, type LocksState, type Progress, type Report, type TaskState, type TierName } from './types';

const SUMMARY_MAX = 200;
const STATES: readonly string[] = ['queued', 'running', 'stalled', 'cancelling', 'completed', 'failed', 'cancelled'] satisfies TaskState[];

function ofTask(p: Partial<Progress>): string {
    const parts = [p.name, STATES.includes(p.state!) ? t(`common.state_${p.state!}`) : p.state,
        p.total !== undefined ? `${count(p.done ?? 0)}/${count(p.total)}` : '', p.item, p.error];
    return parts.filter(Boolean).join(' · ');
}
function ofStats(r: Report): string {
    const ratios = Object.fromEntries(TIERS.map((n) => [n, r[n].configured ? percent(r[n].hits, r[n].hits + r[n].misses) : '–'])) as Record<TierName, string>;
    return t('events.sumHits', { ...ratios, queue: bytes(r.queue_bytes) });
}

export function summaryOf(e: TierlineEvent): string {
    const d = e.data;
    let text = '';
    try { // data is the publisher's: it may be anything
        if (e.type === 'cache.stats.v1') text = ofStats(d as Report);
        else if (e.type === 'locks.v1') {
            const s = d as LocksState;
            text = t('events.sumLocks', { n: s.locks ? count(s.locks.length) : '?', computed: count(s.computed), waited: count(s.waited) });
        } else if (e.type === 'market.update.v1') text = [d.symbol, d.freq, d.adjust, t('events.sumBars', { n: count(d.bars) })].join(' · ');
        else if (e.type === 'indicator.update.v1') text = [d.spec, d.error ?? (d.values as unknown[]).join(', '), d.source, d.freshness].filter(Boolean).join(' · ');
        else if (e.type.startsWith('task.') && typeof d?.state === 'string') text = ofTask(d as Partial<Progress>);
    } catch { /* as it is, then */ }
    text ||= d === undefined ? '' : JSON.stringify(d);
    return text.length > SUMMARY_MAX ? `${text.slice(0, SUMMARY_MAX)}…` : text;
}

/** Local time with milliseconds. */
export function clockTime(iso: string): string {
    const d = new Date(iso), two = (n: number): string => String(n).padStart(2, '0');
    return Number.isNaN(d.getTime()) ? iso : `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}
