// SPDX-License-Identifier: Apache-2.0
// All tasks that are known, the newest first, as the topic `tasks` tells them.
import { defineStore } from 'pinia';
import { computed, ref, shallowRef } from 'vue';
import { open, perFrame, type TierlineEvent } from './live';
import { OVER, type Progress, type TaskRow } from './types';

const ROWS_MAX = 2000;

export const useTasks = defineStore('tasks', () => {
    const rows = shallowRef<readonly TaskRow[]>([]);
    const known = ref(false); // a snapshot has come
    const more = ref(false); // there are older ones
    const map = new Map<string, TaskRow>();
    let closing: (() => void) | null = null;

    const show = perFrame(() => {
        const list = [...map.values()].sort((a, b) => b.started_ms - a.started_ms || (a.task < b.task ? 1 : -1));
        for (const old of list.splice(ROWS_MAX)) map.delete(old.task);
        rows.value = list;
    });
    function onEvent(e: TierlineEvent): void {
        const p = e.data as Progress;
        if (!p || typeof p.task !== 'string' || typeof p.state !== 'string') return;
        const at = Date.parse(e.time), before = map.get(p.task);
        map.set(p.task, {
            ...p, position: e.sequence ?? before?.position ?? '', updated_ms: at,
            started_ms: e.type === 'task.started.v1' ? at : before?.started_ms ?? at - (p.elapsed_ms || 0),
        });
        show();
    }
    function begin(): void {
        closing ??= open('tasks', {
            event: onEvent,
            snapshot(s) {
                map.clear();
                for (const row of (s.data?.tasks ?? []) as TaskRow[]) map.set(row.task, row);
                more.value = s.data?.more === true;
                known.value = true;
                show();
            },
        });
    }
    const running = computed(() => rows.value.filter((r) => !OVER.includes(r.state)));
    function row(id: string): TaskRow | undefined {
        return rows.value.find((r) => r.task === id);
    }
    return { rows, running, known, more, begin, row };
});
