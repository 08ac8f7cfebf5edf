// SPDX-License-Identifier: Apache-2.0
// Follows one task: its state, its symbols, its failures. Events go into plain objects; once a frame what is shown of
// them is handed to Vue. The task is read from its beginning; where that is no longer kept, from what is: then `partial`
// says that some symbols cannot be told.
import { markRaw, nextTick, onMounted, onUnmounted, shallowReactive, watch } from 'vue';
import { comparePositions } from '../../client/tierline';
import { ApiError, get, part } from '../../lib/api';
import { live, open, perFrame, type Snapshot, type TierlineEvent } from '../../lib/live';
import { useTasks } from '../../lib/tasks';
import { OVER, type Progress } from '../../lib/types';
import { Board, type Counts } from './board';
import { errorPage, symbolsOf, type JobRequest } from './symbols';

interface JobRecord { id: string; position?: string; progress?: Progress; request?: JobRequest; started_ms?: number; updated_ms?: number }
export interface Followed {
    board: Board;
    counts: Counts;
    progress: Progress | null; // null: nothing is known of it yet
    request: JobRequest | null; // null: it is no job, or not known
    startedMs: number;
    asked: boolean; // the record came, or there is none
    error: string; // why it did not
    partial: boolean;
    busy: boolean; // what failed is being loaded
    failuresTick: number;
    kept: number; // failures that the server keeps
    more: boolean; // and some of them were not loaded
}

const BEGINNING = '1-0';
const HISTORY_PAGE = 10000;
const RECOVERIES = 5, RECOVERY_MS = 1000; // in a row, for events that are on their way
const ERROR_PAGES = 10; // at a time
const NUMBERS_MS = 100, FAILURES_MS = 400; // they change at most so often: nobody reads faster
const MANY_FAILURES = 100, MANY_FAILURES_MS = 1000; // a long list is slower

/** f at once, but at most once in that time: then at its end. */
function atMostEvery(ms: () => number, f: () => void): { (): void; cancel(): void } {
    let last = -Infinity, timer = 0;
    const run = (): void => {
        timer = 0;
        last = performance.now();
        f();
    };
    const ask = (): void => {
        if (timer) return;
        const wait = last + ms() - performance.now();
        if (wait > 0) timer = window.setTimeout(run, wait);
        else run();
    };
    ask.cancel = (): void => clearTimeout(timer);
    return ask;
}

const termOf = (position: string): number => Number(position.slice(0, position.indexOf('-')));

export function follow(id: string, draw: () => void): { job: Followed; ask(): Promise<void>; loadMore(): Promise<void> } {
    const board = markRaw(new Board());
    const job = shallowReactive<Followed>({
        board, counts: board.counts(), progress: null, request: null, startedMs: 0, asked: false, error: '', partial: false, busy: false,
        failuresTick: 0, kept: 0, more: false,
    });
    const tasks = useTasks(), gone = new AbortController(), signal = gone.signal;
    let failuresShown = 0;
    let progress: Progress | null = null, position = ''; // the newest that is known
    let phase: Progress | null = null, phaseAt = ''; // the last start or end that was heard of
    let reached = BEGINNING; // every event up to here was heard, unless it is partial
    let heardLive = ''; // the last event since the last snapshot
    let target: string | null = null; // events up to here are to be read; null: nobody knows of any
    let recovering = false, recoveries = 0, unread = false; // unread: that went wrong
    let listed = false, forgotten = false, refused = false; // forgotten: the bus knows nothing of it
    let loaded = 0;
    let close: (() => void) | null = null;

    // ---- what is shown ----

    const showNumbers = atMostEvery(() => NUMBERS_MS, () => {
        const c = board.counts(), was = job.counts;
        if (Object.entries(c).some(([k, n]) => was[k as keyof Counts] !== n)) job.counts = c;
        job.progress = progress;
    });
    const showFailures = atMostEvery(() => (board.failed > MANY_FAILURES ? MANY_FAILURES_MS : FAILURES_MS), () => {
        if (board.failuresVersion === failuresShown) return;
        failuresShown = board.failuresVersion;
        job.failuresTick++;
    });
    const show = perFrame(() => {
        showNumbers();
        showFailures();
        draw();
    });

    // ---- what is known ----

    /** A state without a position is of now (a task that says nothing is said to be stalled). */
    function take(p: Progress, at: string | null | undefined): void {
        if (at) {
            if (position && comparePositions(at, position) < 0) return;
            position = at;
        }
        progress = p;
        show();
    }
    /** When everything up to the end was heard, what nobody spoke of was skipped. */
    function settle(): void {
        const all = !job.partial && !unread && !recovering && comparePositions(phaseAt || BEGINNING, reached) <= 0;
        const end = all && phase && OVER.includes(phase.state) ? phase : null;
        board.setRest(end !== null && end.total > 0 && end.done >= end.total);
        // The store may have got symbols since: where there is one for each that was done, the others are none of it.
        if (end?.state === 'completed' && listed && board.cells.length - board.unheard() === end.total) board.onlyHeard();
        show();
    }
    /** Hearing an event twice, or later than those behind it, does no harm. */
    function hear(e: TierlineEvent): void {
        if (e.type.startsWith('task.item.')) {
            const term = termOf(e.sequence ?? '0-0');
            if (e.type === 'task.item.completed.v1') board.completed(e.data, term);
            else if (e.type === 'task.item.failed.v1') board.itemFailed(e.data, term);
            return;
        }
        const p = e.data as Progress | null;
        if (!p || typeof p.state !== 'string') return;
        if (!job.startedMs) job.startedMs = Date.parse(e.time) - (p.elapsed_ms || 0);
        take(p, e.sequence);
        if (!e.sequence || e.type === 'task.progress.v1' || (phaseAt && comparePositions(e.sequence, phaseAt) < 0)) return;
        phase = p;
        phaseAt = e.sequence;
        if (e.type === 'task.started.v1') job.startedMs = Date.parse(e.time); // anew, where it was taken over
        if (OVER.includes(p.state) && job.request) job.request = { ...job.request, ended_ms: Date.parse(e.time) };
        settle();
    }
    function onEvent(e: TierlineEvent): void {
        if (e.sequence) heardLive = e.sequence;
        if (e.sequence && !recovering) reached = e.sequence;
        hear(e);
        show();
    }
    /** Events that were not handed out are missing, up to the snapshot's position. */
    function onSnapshot(s: Snapshot): void {
        const p = s.data as Progress | null;
        forgotten = !p;
        if (p) take(p, s.position);
        target = s.position;
        heardLive = '';
        if (p ? OVER.includes(p.state) || p.done + p.failed + p.skipped > 0 : job.request?.started_ms) void recover();
        else if (s.position) reached = s.position;
    }
    function listen(since: string): void {
        close?.();
        refused = false;
        close = open(`task/${id}`, {
            event: onEvent, snapshot: onSnapshot,
            error(message) {
                refused = true;
                job.error = message;
            },
        }, { since });
    }

    // ---- what is fetched ----

    function failed(e: unknown): void {
        if (!signal.aborted) job.error = e instanceof Error ? e.message : String(e);
    }
    /** The record, and the symbols. */
    async function ask(): Promise<void> {
        job.error = '';
        if (refused) listen(reached);
        if (unread) void recover();
        try {
            const r = await get<JobRecord>(`api/v1/jobs/${part(id)}`, undefined, signal);
            if (r.started_ms) job.startedMs = r.started_ms;
            if (r.progress) take(r.progress, r.position);
            job.request = r.request ?? null;
            if (r.request && !progress) // older than what the bus remembers
                take({ ...r.request, task: id, state: r.request.state as Progress['state'], rate: 0, eta_ms: null, item: '', error: r.request.error ?? '' }, null);
            job.asked = true;
            if (forgotten && r.request?.started_ms) void recover();
            else if (job.partial && r.request && !recovering && loaded === 0) void loadMore();
            show();
            if (!r.request || listed) return;
            const symbols = await symbolsOf(r.request, progress?.total ?? 0, signal);
            if (symbols) board.list(symbols);
            listed = symbols !== null;
            settle();
        } catch (e) {
            if (e instanceof ApiError && e.status === 404) job.asked = true;
            else failed(e);
        }
    }
    /** Reads the events from where everything was heard to the target. Those that are still on their way to where they
     *  are kept are asked for again; where some are no longer kept, the list of what failed stands for them. */
    async function recover(): Promise<void> {
        if (recovering) return;
        recovering = job.busy = true;
        unread = false;
        try {
            let since = reached, complete = target !== null;
            const pause = (): Promise<void> => new Promise((done) => setTimeout(done, RECOVERY_MS));
            const missing = (): boolean => target !== null && comparePositions(since, target) < 0;
            while (missing()) {
                const h: { complete: boolean; events: TierlineEvent[] } =
                    await get(`api/v1/tasks/${part(id)}/events`, { since, limit: HISTORY_PAGE }, signal);
                complete &&= h.complete;
                for (const e of h.events) hear(e);
                since = h.events[h.events.length - 1]?.sequence ?? since;
                show();
                if (!h.events.length || signal.aborted) break;
                if (h.events.length < HISTORY_PAGE && missing()) await pause();
            }
            const again = missing() && recoveries++ < RECOVERIES;
            if (!again) recoveries = 0;
            if (!complete || (missing() && !again)) job.partial = true;
            if (job.partial && job.request) await loadFailures();
            if (again) {
                await pause();
                if (signal.aborted) return;
                reached = since;
                listen(since); // everything after it comes, or another snapshot
                return;
            }
            reached = heardLive && comparePositions(heardLive, since) > 0 ? heardLive : since;
        } catch (e) {
            if (e instanceof ApiError && e.status === 404) {
                job.partial = true;
                return;
            }
            unread = true;
            failed(e);
        } finally {
            recovering = job.busy = false;
            settle();
        }
    }
    async function loadFailures(): Promise<void> {
        const term = termOf(position || BEGINNING);
        for (let page = 0; page < ERROR_PAGES; page++) {
            const from = loaded, p = await errorPage(id, from, signal);
            for (const e of p.errors) board.itemFailed(e, term);
            loaded = Math.max(loaded, from + p.errors.length);
            job.kept = p.total;
            job.more = p.errors.length > 0 && loaded < p.total && board.failed < p.total;
            if (!job.more && listed && board.unheard() === 0) job.partial = false; // enough was kept, after all
            show();
            if (!job.more) return;
        }
    }
    async function loadMore(): Promise<void> {
        if (job.busy) return;
        job.busy = true;
        try {
            await loadFailures();
        } catch (e) { failed(e); } finally { job.busy = false; }
    }

    // ---- its life ----

    const stopAgain = watch(() => live.opened, () => { if (unread || refused || job.error) void ask(); });
    const stop = watch(() => tasks.rows, () => {
        const row = tasks.row(id);
        if (row) take(row, row.position);
        if (row && !job.startedMs) job.startedMs = row.started_ms;
    }, { immediate: true });
    onMounted(async () => {
        void ask();
        await nextTick(); // whoever was here before has closed the topic
        if (!signal.aborted) listen(BEGINNING);
    });
    onUnmounted(() => {
        stop();
        stopAgain();
        close?.();
        show.cancel();
        gone.abort();
        showNumbers.cancel();
        showFailures.cancel();
    });
    return { job, ask, loadMore };
}
