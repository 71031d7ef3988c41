import { defineConfig } from 'rolldown';

/**
 * The program as few files: on a Pi, starting from hundreds of small ones takes more than twice the time and a fifth more memory
 * (ARCHITECTURE.md, Decisions). The three processes each have an entry; the others are what tests and benchmarks start by name.
 */
export default defineConfig({
  input: {
    main: 'src/main.ts',
    'bluetooth/radio/main': 'src/bluetooth/radio/main.ts',
    'bluetooth/air/main': 'src/bluetooth/air/main.ts',
    'demo/authorization-server': 'src/demo/authorization-server.ts',
    'storage/state-directory': 'src/storage/state-directory.ts',
    'web/client': 'src/web/client.ts',
  },
  platform: 'node',
  // Native or found at run time (noble; x11, which D-Bus asks for only without any other address), only there in a checkout (the demo's servers), or not strict-mode code (the QR code).
  external: [/^node:/, /^@stoprocent\//, 'x11', 'aedes', 'oidc-provider', 'qrcode-terminal'],
  output: {
    dir: 'dist',
    format: 'esm',
    cleanDir: true,
    chunkFileNames: 'chunks/[name]-[hash].js',
    comments: { legal: true },
  },
});
