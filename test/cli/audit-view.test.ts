import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/access/audit/record.ts';
import { renderRecords, renderVerdict } from '../../src/cli/audit-view.ts';

const record = (seq: number, event: string, more: object = {}): AuditRecord => ({
  seq,
  at: `2026-05-04T12:00:${String(seq).padStart(2, '0')}.123Z`,
  event,
  by: 'owner',
  prev: '',
  hash: '',
  ...more,
});

describe('the trail as a table', () => {
  it('puts an outcome into the row of its command, and tells the rest in words', () => {
    const text = renderRecords(
      [
        record(1, 'started', { by: 'gateway', version: '1.0' }),
        record(2, 'command', {
          client: 'phone',
          target: 'porch',
          decision: 'allow',
          change: { state: 'ON', color: { r: 1, g: 2, b: 3 } },
        }),
        record(3, 'outcome', { of: 2, target: 'porch', outcome: 'confirmed' }),
        record(4, 'command', { target: 'porch', decision: 'allow', count: 58, change: { brightness: 9 } }),
        record(5, 'command', {
          by: 'unknown',
          via: 'bearer',
          decision: 'deny',
          outcome: 'denied',
          code: 'token_invalid',
          count: 900,
        }),
        record(6, 'outcome', {
          target: 'porch',
          outcome: 'failed',
          code: 'unreachable',
          count: 58,
          outcomes: { superseded: 57, failed: 1 },
        }),
        record(7, 'command', { target: 'scene/movie', decision: 'allow' }),
        record(8, 'configuration_reloaded', { by: 'local', changed: ['access', 'lights'] }),
        record(9, 'something_of_a_later_version'),
      ],
      false,
    );
    expect(text.split('\n').map((line) => line.replace(/ {2,}/g, ' | '))).toEqual([
      'TIME (UTC) | WHO | WHAT | DECISION | OUTCOME',
      '2026-05-04 12:00:01 | gateway | started, version 1.0',
      '2026-05-04 12:00:02 | owner by phone | porch ON, rgb 1 2 3 | allow | confirmed',
      '2026-05-04 12:00:04 | owner | porch brightness 9 ×58 | allow | counted',
      '2026-05-04 12:00:05 | unknown (bearer) | several targets ×900 | deny | token_invalid',
      '2026-05-04 12:00:06 | owner | outcomes of porch: superseded 57, failed 1 | failed unreachable',
      '2026-05-04 12:00:07 | owner | scene/movie | allow | not known',
      '2026-05-04 12:00:08 | local | the configuration was read again: access, lights',
      '2026-05-04 12:00:09 | owner | something_of_a_later_version',
    ]);
  });

  it('fits into the window, and nothing in a record reaches out of its line', () => {
    const hostile = '\u001b[2J\u202e\n💡"x'.repeat(40);
    const all = ['command', 'outcome', 'repaired', 'clock_trusted', hostile].map((event, n) =>
      record(n + 1, event, {
        by: hostile,
        target: hostile,
        why: hostile,
        code: hostile,
        outcome: hostile,
        change: { effect: hostile },
        missing: hostile,
      }),
    );
    for (const columns of [40, 80, 200]) {
      const text = renderRecords(all, false, columns);
      expect(text.split('\n')).toHaveLength(6);
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/);
    }
  });
});

it('a verdict says what is known and what can not be', () => {
  const verdict = { ok: true, records: 90, first: 11, last: 100, repaired: 1, head: false, flaws: [], count: 0 };
  expect(renderVerdict(verdict, '/var/lib/porchlight').split('\n')).toEqual([
    'The audit trail in /var/lib/porchlight is whole: 90 records, 11 to 100.',
    'Complete from record 11 on; older ones were deleted to make room.',
    'One torn line is accounted for (a power cut).',
    'Whether its end was cut off cannot be told: audit-head.json is missing.',
  ]);
});
