// SPDX-License-Identifier: Apache-2.0
import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

const server = process.env['TIERLINE_URL'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
    base: './',
    plugins: [vue()],
    define: { __VUE_OPTIONS_API__: 'false' },
    build: { target: 'es2021', sourcemap: false, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
    // The server looks at Host and Origin together: the first must stay as the browser said it.
    server: {
        proxy: Object.fromEntries(['/api', '/ws', '/metrics', '/readyz'].map(
            (path) => [path, { target: server, changeOrigin: false, ws: path === '/ws' }])),
    },
});
