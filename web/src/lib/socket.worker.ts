// SPDX-License-Identifier: Apache-2.0
// The socket's side of socket.ts: many messages become one, and the next goes when the last was taken.
interface Port { postMessage(m: unknown): void; onmessage: ((e: MessageEvent) => void) | null }
const port = self as unknown as Port;
const EVERY_MS = 12, HELD_MAX = 32 << 20; // characters; one who does not take them is to begin anew

let ws: WebSocket | null = null;
let held: string[] = [], size = 0, taken = true, sentAt = -Infinity, timer = 0;

function flush(): void {
    clearTimeout(timer);
    timer = 0;
    if (!taken || !held.length) return;
    const wait = sentAt + EVERY_MS - performance.now();
    if (wait > 0) {
        timer = setTimeout(flush, wait) as unknown as number;
        return;
    }
    port.postMessage({ text: held.join('\n') });
    held = [];
    size = 0;
    taken = false;
    sentAt = performance.now();
}
function begin(url: string, protocols: string[]): void {
    ws = new WebSocket(url, protocols);
    ws.onopen = () => port.postMessage({ opened: true });
    ws.onmessage = (e) => {
        const text = String(e.data);
        held.push(text);
        size += text.length;
        if (size > HELD_MAX) ws?.close();
        else if (!timer) flush();
    };
    ws.onclose = (e) => port.postMessage({ text: held.join('\n'), closed: { code: e.code, reason: e.reason } });
}
port.onmessage = (e) => {
    const m = e.data as { url?: string; protocols?: string[]; text?: string; taken?: true; close?: number };
    if (m.url) begin(m.url, m.protocols ?? []);
    if (m.text !== undefined) ws?.send(m.text);
    if (m.taken) {
        taken = true;
        if (!timer) flush();
    }
    if (m.close !== undefined) ws?.close(m.close);
};
