// SPDX-License-Identifier: Apache-2.0
// A canvas that takes every touch would hold the page of a phone fast. A swipe up or down is the page's: the canvas hears of
// a touch only when it goes sideways, stays where it is for a while, ends as a tap, or has company.
const HOLD_MS = 250, FAR_PX = 8;

export function letPageScroll(element: HTMLElement): void {
    let held: TouchEvent | null = null, timer = 0, ours = false;
    const forget = (): void => {
        held = null;
        clearTimeout(timer);
    };
    const pass = (): void => {
        const e = held;
        forget();
        if (!e) return;
        ours = true;
        e.target?.dispatchEvent(new TouchEvent('touchstart', {
            bubbles: true, cancelable: true, composed: true,
            touches: [...e.touches], targetTouches: [...e.targetTouches], changedTouches: [...e.changedTouches],
        }));
        ours = false;
    };
    const first = { capture: true, passive: true } as const;
    element.addEventListener('touchstart', (e) => {
        if (ours) return;
        if (e.touches.length > 1) return pass();
        held = e;
        timer = window.setTimeout(pass, HOLD_MS);
        e.stopPropagation();
    }, first);
    element.addEventListener('touchmove', (e) => {
        const from = held?.touches[0], to = e.touches[0];
        if (!from || !to) return;
        const x = Math.abs(to.clientX - from.clientX), y = Math.abs(to.clientY - from.clientY);
        if (x + y >= FAR_PX && x >= y) return pass();
        if (x + y >= FAR_PX) forget();
        e.stopPropagation();
    }, first);
    element.addEventListener('touchend', pass, first);
    element.addEventListener('touchcancel', forget, first);
    for (const child of element.children) Object.assign((child as HTMLElement).style, { touchAction: 'pan-y', overscrollBehavior: 'auto' });
}
