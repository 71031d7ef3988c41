import { defineConfig } from 'vitest/config';

/** `npm run bench -- NAME` runs a campaign whole; CI runs a share of each. */
const campaigns = process.env['PORCHLIGHT_CAMPAIGN'] !== undefined;

export default defineConfig({
  test: {
    // Integration tests start real brokers, servers and radios; on a loaded two-core machine they need room.
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: ['test/load/**', 'test/system/**', '**/node_modules/**'],
          // They wait for radios, brokers and clocks more than they compute.
          maxWorkers: 4,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        // They look at how things go together in time, so nothing else runs beside them. The rest is run by `npm run bench` and by CI.
        test: {
          name: 'load',
          include: campaigns ? ['test/load/*.test.ts'] : ['test/load/{slider,kills}.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
