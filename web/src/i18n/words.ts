// SPDX-License-Identifier: Apache-2.0
// The words that have been loaded. A file of words puts itself in here when it is imported, so that they come with the
// page that says them and not with the first one.
export type Words = Readonly<Record<string, readonly [en: string, zh: string]>>;
export const loaded: Record<string, Words> = {};

export function add<const T extends Words>(page: string, words: T): T {
    loaded[page] = words;
    return words;
}
