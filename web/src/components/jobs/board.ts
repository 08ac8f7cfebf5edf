// SPDX-License-Identifier: Apache-2.0
// What is known of each symbol of a task, and of each failure. Nothing here is reactive: events go in as fast as they
// come, and whoever shows it looks once a frame. A symbol counts in exactly one state, so the counts add up to the cells.

export const CELL_STATES = ['waiting', 'computed', 'cache', 'waited', 'skipped', 'failed'] as const;
const WAITING = 0, COMPUTED = 1, CACHED = 2, WAITED = 3, SKIPPED = 4, FAILED = 5;

export interface Failure {
    readonly number: number; // a later one has a higher number
    readonly symbol: string;
    readonly spec: string | null; // null: the whole symbol
    status: string;
    error: string;
    gone: boolean;
}
export interface Cell {
    readonly symbol: string;
    place: number; // among the cells; -1: not shown
    state: number;
    dirty: boolean;
    heard: boolean; // it was said to be completed, at doneTerm
    doneTerm: number;
    computed: number; fromCache: number; waited: number; ms: number; // NaN: not known
    term: number; // of the last event about it
    failures: Map<string, Failure> | null; // by spec; never empty
}
export interface Counts { waiting: number; computed: number; cache: number; waited: number; skipped: number; failed: number }

const amount = (v: unknown): number => (typeof v === 'number' && v > 0 ? v : v === true ? 1 : 0);
const words = (v: unknown): string => (typeof v === 'string' ? v : '');

/** The symbol of an item's data, which another program may call its item. */
function symbolOf(data: unknown): string {
    const d = data as { symbol?: unknown; item?: unknown } | null;
    return words(d?.symbol) || words(d?.item);
}

export class Board {
    cells: Cell[] = [];
    version = 0; // changes when cells moved or mean something else: all of them are to be drawn
    dirty: Cell[] = []; // to be drawn
    failures: Failure[] = []; // in order; those that are gone are still among them
    failed = 0; // of them, not gone
    failuresVersion = 0;
    readonly byStatus = new Map<string, number>();
    private readonly bySymbol = new Map<string, Cell>();
    private readonly inState = new Uint32Array(CELL_STATES.length);
    private restSkipped = false; // a symbol that was not heard of was skipped
    private numbers = 0;

    counts(): Counts {
        const n = this.inState, rest = n[WAITING]!;
        return {
            waiting: this.restSkipped ? 0 : rest, skipped: this.restSkipped ? rest : 0,
            computed: n[COMPUTED]!, cache: n[CACHED]!, waited: n[WAITED]!, failed: n[FAILED]!,
        };
    }
    unheard(): number {
        return this.inState[WAITING]!;
    }
    /** As it is drawn. */
    stateOf(cell: Cell): number {
        return cell.state === WAITING && this.restSkipped ? SKIPPED : cell.state;
    }
    find(symbol: string): Cell | undefined {
        return this.bySymbol.get(symbol);
    }

    /** The symbols that the task has, in this order; those that were heard of beyond them come behind. */
    list(symbols: readonly string[]): void {
        const before = this.cells, listed = new Set(symbols);
        this.cells = [];
        for (const symbol of listed) this.show(this.bySymbol.get(symbol) ?? this.make(symbol));
        for (const cell of before) if (!listed.has(cell.symbol)) this.show(cell);
        this.version++;
    }
    /** Takes out the symbols that were not heard of: they are none of the task's. */
    onlyHeard(): void {
        const before = this.cells;
        this.cells = [];
        for (const cell of before) {
            if (cell.state !== WAITING) { this.show(cell); continue; }
            this.bySymbol.delete(cell.symbol);
            this.inState[WAITING]!--;
        }
        this.version++;
    }
    setRest(skipped: boolean): void {
        if (skipped !== this.restSkipped) this.version++;
        this.restSkipped = skipped;
    }

    completed(data: unknown, term: number): void {
        const symbol = symbolOf(data);
        if (!symbol) return;
        const cell = this.at(symbol, term), d = data as Record<string, unknown>;
        const computed = amount(d['computed']), fromCache = amount(d['from_cache']), waited = amount(d['waited']);
        // What one term computed, the next finds in the cache: the work is what is shown.
        const work = computed + waited > 0, worked = cell.computed + cell.waited > 0;
        if (cell.heard && term !== cell.doneTerm && (work !== worked ? !work : term < cell.doneTerm)) return;
        cell.heard = true;
        cell.doneTerm = term;
        // One who says nothing of where it came from has made it.
        cell.computed = work || fromCache > 0 || 'from_cache' in d ? computed : 1;
        cell.fromCache = fromCache;
        cell.waited = waited;
        cell.ms = typeof d['ms'] === 'number' ? d['ms'] : NaN;
        this.settle(cell);
    }
    itemFailed(data: unknown, term: number): void {
        const symbol = symbolOf(data);
        if (!symbol) return;
        const cell = this.at(symbol, term), d = data as Record<string, unknown>;
        if (term < cell.term) return;
        const spec = words(d['spec']), status = words(d['status']) || 'FAILED', error = words(d['error']);
        const same = cell.failures?.get(spec);
        this.failuresVersion++;
        this.byStatus.set(status, (this.byStatus.get(status) ?? 0) + 1);
        if (same) {
            this.uncount(same.status);
            same.status = status;
            same.error = error;
            return;
        }
        const failure: Failure = { number: ++this.numbers, symbol, spec: spec || null, status, error, gone: false };
        this.failures.push(failure);
        this.failed++;
        (cell.failures ??= new Map()).set(spec, failure);
        this.settle(cell);
    }

    /** The newest failures with this status ('': any) and text, at most so many, and how many there are. */
    newest(limit: number, status: string, text: string): { rows: Failure[]; count: number } {
        const rows: Failure[] = [], wanted = text.trim().toLowerCase();
        const known = wanted ? -1 : status ? this.byStatus.get(status) ?? 0 : this.failed;
        let count = 0;
        for (let i = this.failures.length - 1; i >= 0; i--) {
            const f = this.failures[i]!;
            if (f.gone || (status && f.status !== status)) continue;
            if (wanted && !`${f.symbol} ${f.spec ?? ''} ${f.status} ${f.error}`.toLowerCase().includes(wanted)) continue;
            count++;
            if (rows.length < limit) rows.push(f);
            else if (known >= 0) break;
        }
        return { rows, count: known >= 0 ? known : count };
    }

    private make(symbol: string): Cell {
        const cell: Cell = {
            symbol, place: -1, state: WAITING, dirty: false, heard: false, doneTerm: 0,
            computed: 0, fromCache: 0, waited: 0, ms: NaN, term: 0, failures: null,
        };
        this.bySymbol.set(symbol, cell);
        this.inState[WAITING]!++;
        return cell;
    }
    private show(cell: Cell): void {
        cell.place = this.cells.length;
        this.cells.push(cell);
    }
    /** The cell of an event. What an earlier term said to have failed is tried anew by a later one. */
    private at(symbol: string, term: number): Cell {
        let cell = this.bySymbol.get(symbol);
        if (!cell) {
            cell = this.make(symbol);
            this.show(cell);
            this.mark(cell);
        }
        if (term <= cell.term) return cell;
        cell.term = term;
        if (!cell.failures) return cell;
        for (const f of cell.failures.values()) {
            f.gone = true;
            this.failed--;
            this.uncount(f.status);
        }
        cell.failures = null;
        this.failuresVersion++;
        if (this.failures.length > 1000 && this.failed < this.failures.length / 2)
            this.failures = this.failures.filter((f) => !f.gone);
        this.settle(cell);
        return cell;
    }
    private uncount(status: string): void {
        const n = (this.byStatus.get(status) ?? 0) - 1;
        if (n > 0) this.byStatus.set(status, n);
        else this.byStatus.delete(status);
    }
    private mark(cell: Cell): void {
        if (cell.dirty) return;
        cell.dirty = true;
        this.dirty.push(cell);
    }
    private settle(cell: Cell): void {
        const state = cell.failures ? FAILED : !cell.heard ? WAITING : cell.waited ? WAITED : cell.computed ? COMPUTED : CACHED;
        if (state === cell.state) return;
        this.inState[cell.state]!--;
        this.inState[state]!++;
        cell.state = state;
        this.mark(cell);
    }
}
