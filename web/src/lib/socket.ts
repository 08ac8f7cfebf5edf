// SPDX-License-Identifier: Apache-2.0
// A WebSocket in a worker. Each message of a socket is a task of the thread that has it, and a browser lets thousands of
// them a second go before frames; here they come as one text of many lines, a frame's worth at a time.
import type { WebSocketLike } from '../client/tierline';

export class WorkerSocket implements WebSocketLike {
    onopen: WebSocketLike['onopen'] = null;
    onmessage: WebSocketLike['onmessage'] = null;
    onclose: WebSocketLike['onclose'] = null;
    onerror: WebSocketLike['onerror'] = null;
    private readonly worker = new Worker(new URL('./socket.worker.ts', import.meta.url), { type: 'module' });

    constructor(url: string, protocols: string[]) {
        this.worker.onmessage = (e) => {
            const m = e.data as { opened?: true; text?: string; closed?: { code: number; reason: string } };
            if (m.opened) this.onopen?.(m);
            if (m.text) this.onmessage?.({ data: m.text });
            if (m.closed) this.end(m.closed);
            else if (m.text) this.worker.postMessage({ taken: true });
        };
        this.worker.onerror = () => this.end({ code: 1006, reason: 'the worker' });
        this.worker.postMessage({ url, protocols });
    }
    send(text: string): void {
        this.worker.postMessage({ text });
    }
    close(code = 1000): void {
        this.worker.postMessage({ close: code });
    }
    private end(why: { code: number; reason: string }): void {
        this.worker.terminate();
        this.onclose?.(why);
    }
}
