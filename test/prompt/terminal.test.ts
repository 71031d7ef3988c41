import { describe, expect, it } from 'vitest';
import { renderCode } from '../../src/prompt/terminal.ts';

const now = 1_700_000_000_000;
const shown = {
  user_code: 'WDJB-MJHT',
  verification_uri: 'https://auth.example.com/device',
  verification_uri_complete: 'https://auth.example.com/device?user_code=WDJB-MJHT',
  expires_at: now + 600_000,
};
const plain = { qr: true, colours: false, now };
const blocks = /[\u2580\u2584\u2588]/;

describe('the request for approval on a terminal', () => {
  it('has address and code as text, with or without the QR code (RFC 8628 section 3.3.1)', () => {
    for (const qr of [true, false]) {
      const text = renderCode(shown, { ...plain, qr });
      expect(text).toContain('      https://auth.example.com/device\n');
      expect(text).toContain('      WDJB-MJHT\n');
      expect(blocks.test(text)).toBe(qr);
    }
  });

  it('fits into 80 columns, and into fewer when told', () => {
    for (const columns of [80, 60, 44])
      for (const line of renderCode(shown, { ...plain, columns }).split('\n'))
        expect(line.length).toBeLessThanOrEqual(columns);
  });

  it('leaves the QR code out where it would not fit, and then asks to enter the code', () => {
    const text = renderCode(shown, { ...plain, columns: 36 });
    expect(text).not.toMatch(blocks);
    expect(text).toContain('enter this code');
  });

  it('surrounds the QR code with at least two light modules on every side', () => {
    const rows = renderCode(shown, plain)
      .split('\n')
      .filter((line) => blocks.test(line));
    expect(rows[0]).toMatch(/^ {2}\u2588+$/);
    expect(rows.at(-1)).toMatch(/^ {2}\u2588+$/);
    for (const row of rows) {
      expect(row).toMatch(/^ {2}\u2588\u2588.*\u2588\u2588$/);
      expect(row).toHaveLength(rows[0]?.length ?? 0);
    }
  });

  it('draws the plain address when there is no complete one, and says that the code must be entered', () => {
    const { verification_uri_complete: _, ...short } = shown;
    const text = renderCode(short, plain);
    expect(text).toMatch(blocks);
    expect(text).toContain('enter this code');
  });

  it('says how long the code is good', () => {
    const left = (ms: number): string => renderCode({ ...shown, expires_at: now + ms }, plain);
    expect(left(600_000)).toContain('good for 10 minutes');
    expect(left(61_000)).toContain('good for 1 minute.');
    expect(left(59_000)).toContain('less than a minute');
    expect(left(0)).toContain('has expired');
    expect(left(86_400_000)).toContain('24 hours');
    expect(left(Number.NaN)).toContain('has expired');
  });

  it('writes escape sequences only where colours are allowed', () => {
    expect(renderCode(shown, plain)).not.toContain('\u001b');
    const colourful = renderCode(shown, { ...plain, colours: true });
    expect(colourful).toContain('\u001b[1mWDJB-MJHT\u001b[0m');
    expect(
      colourful
        .split('\n')
        .filter((line) => blocks.test(line))
        .every((line) => line.endsWith('\u001b[0m')),
    ).toBe(true);
  });

  it('lets nothing of the server through that a terminal would obey', () => {
    const hostile = {
      user_code: 'AB\u001b[2JCD\u0007\u202e',
      verification_uri: 'https://auth.example.com/\u001b]8;;evil\u0007',
      verification_uri_complete: 'https://auth.example.com/\r\n\u009b31m',
      expires_at: now + 1,
    };
    expect(renderCode(hostile, plain)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  });

  it('bears texts of any length', () => {
    const long = {
      ...shown,
      verification_uri_complete: `https://a.example/?${'x'.repeat(20_000)}`,
      user_code: 'Ä'.repeat(500),
    };
    expect(renderCode(long, { ...plain, columns: 200 })).not.toMatch(blocks);
  });
});
