// SPDX-License-Identifier: Apache-2.0
// Whether what rises is red, as in China, or green. Until somebody chooses, by the language.
import { computed, ref } from 'vue';
import { language } from '../i18n';

const KEY = 'tierline.redUp';
const stored = localStorage.getItem(KEY);
const chosen = ref<boolean | null>(stored === '1' ? true : stored === '0' ? false : null);
export const redUp = computed<boolean>({
    get: () => chosen.value ?? language.value === 'zh',
    set: (v) => {
        chosen.value = v;
        localStorage.setItem(KEY, v ? '1' : '0');
    },
});
