// SPDX-License-Identifier: Apache-2.0
// A bounded log of events that can be filtered, and stopped to be looked at while events go on coming. It knows nothing
// of Vue: `take` is called as fast as events come, `rows` is asked once a frame.
import { Ring } from './history';
import type { TierlineEvent } from './live';

export const EVENTS_MAX = 5000;
export const ROWS_MAX = 200;

export interface Entry { n: number; event: TierlineEvent; standsFor: number; matches: boolean }
export interface Filter { text: string; type: string; topic: string }

export class EventLog {
    private kept = new Ring<Entry>(EVENTS_MAX);
    private waiting = new Ring<Entry>(EVENTS_MAX); // came while it is paused
    private newest: Entry[] = []; // of those that match, the newest last
    private filter: Filter = { text: '', type: '', topic: '' };
    private numbers = 0;
    private since = 0; // the number of the last entry before the pause
    matching = 0;
    paused = false;
    readonly types = new Set<string>();

    get length(): number { return this.kept.length; }
    get dropped(): number { return this.kept.fallen; }
    get meanwhile(): number { return this.paused ? this.numbers - this.since : 0; }

    take(event: TierlineEvent, standsFor: number): void {
        const entry = { n: ++this.numbers, event, standsFor, matches: false };
        if (this.types.size < 200) this.types.add(event.type);
        if (this.paused) this.waiting.push(entry);
        else this.keep(entry);
    }
    pause(): void {
        this.paused = true;
        this.since = this.numbers;
    }
    resume(): void {
        const lost = this.waiting.fallen;
        this.paused = false;
        for (let i = 0; i < this.waiting.length; i++) this.keep(this.waiting.at(i)!);
        this.kept.fallen += lost;
        this.waiting.clear();
    }
    clear(): void {
        this.kept.clear();
        this.waiting.clear();
        this.newest = [];
        this.matching = 0;
        this.since = this.numbers;
    }
    setFilter(filter: Filter): void {
        this.filter = { ...filter, text: filter.text.toLowerCase(), topic: filter.topic.toLowerCase() };
        this.newest = [];
        this.matching = 0;
        for (let i = 0; i < this.kept.length; i++) this.judge(this.kept.at(i)!);
    }
    /** The newest first. */
    rows(): Entry[] {
        const oldest = this.kept.at(0)?.n ?? 0;
        return this.newest.slice(-ROWS_MAX).filter((entry) => entry.n >= oldest).reverse();
    }
    /** All that match, the oldest first, an event a line. */
    ndjson(): string {
        let out = '';
        for (let i = 0; i < this.kept.length; i++) {
            const entry = this.kept.at(i)!;
            if (entry.matches) out += `${JSON.stringify(entry.event)}\n`;
        }
        return out;
    }

    private keep(entry: Entry): void {
        if (this.kept.push(entry)?.matches) this.matching--;
        this.judge(entry);
    }
    private judge(entry: Entry): void {
        entry.matches = this.passes(entry.event);
        if (!entry.matches) return;
        this.matching++;
        this.newest.push(entry);
        if (this.newest.length > 4 * ROWS_MAX) this.newest = this.newest.slice(-ROWS_MAX);
    }
    private passes(e: TierlineEvent): boolean {
        const f = this.filter;
        return (!f.type || e.type === f.type) && (!f.topic || e.subject.toLowerCase().includes(f.topic))
            && (!f.text || JSON.stringify(e).toLowerCase().includes(f.text));
    }
}
