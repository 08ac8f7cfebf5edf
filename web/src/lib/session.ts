// SPDX-License-Identifier: Apache-2.0
// Who looks: nobody in particular where the server lets anybody read, or a token, kept in this tab or in this browser.
import { defineStore } from 'pinia';
import { ref } from 'vue';
import { ApiError, get, send, useToken } from './api';
import { connect, disconnect } from './live';
import type { Info } from './types';

const KEY = 'tierline.token';
export type SessionState = 'checking' | 'in' | 'out' | 'unreachable';

export const useSession = defineStore('session', () => {
    const state = ref<SessionState>('checking');
    const error = ref(''); // of the last try
    const name = ref('');
    const scopes = ref<string[]>([]);
    const info = ref<Info | null>(null);
    const hasToken = ref(false);

    function may(scope: 'read' | 'write' | 'admin'): boolean {
        return scopes.value.includes(scope);
    }
    function refused(status: number): void {
        if (status !== 401 || state.value !== 'in') return; // 403: it is known who looks, and may not do that
        state.value = 'out';
        disconnect();
    }
    async function ticket(): Promise<string> {
        const t = await send<{ ticket: string }>('POST', 'api/v1/tickets');
        return t!.ticket;
    }
    async function enter(token: string): Promise<void> {
        useToken(token, refused);
        hasToken.value = token !== '';
        try {
            const who = await get<{ name: string; scope: string | string[] }>('api/v1/whoami');
            const all = Array.isArray(who.scope) ? who.scope : who.scope.split(/[\s,]+/);
            scopes.value = all.includes('admin') ? ['read', 'write', 'admin'] : all.includes('write') ? ['read', 'write'] : all;
            name.value = who.name;
            info.value = await get<Info>('api/v1/info');
            error.value = '';
            state.value = 'in';
            connect(token ? ticket : undefined, () => void get('api/v1/whoami').catch(() => undefined)); // 401: refused
        } catch (e) {
            const known = e instanceof ApiError;
            error.value = known && e.status === 401 && !token ? '' : e instanceof Error ? e.message : String(e);
            state.value = known && (e.status === 401 || e.status === 403) ? 'out' : 'unreachable';
        }
    }
    async function begin(): Promise<void> {
        const kept = sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
        state.value = 'checking';
        await enter(kept);
        const out = (): boolean => state.value === 'out';
        if (!kept || !out()) return;
        const why = error.value; // another server may be here by now, that asks for none
        await enter('');
        if (out()) error.value = why;
    }
    async function signIn(token: string, keep: boolean): Promise<void> {
        await enter(token);
        if (state.value !== 'in') return;
        forget();
        (keep ? localStorage : sessionStorage).setItem(KEY, token);
    }
    function forget(): void {
        sessionStorage.removeItem(KEY);
        localStorage.removeItem(KEY);
    }
    function signOut(): void {
        forget();
        disconnect();
        useToken('', refused);
        hasToken.value = false;
        state.value = 'out';
    }
    return { state, error, name, scopes, info, hasToken, may, begin, signIn, signOut };
});
