import { describe, expect, it } from 'vitest';
import type { Heard } from '../src/bluetooth/central.ts';
import { pinned } from '../src/families/index.ts';
import { describeHeard } from '../src/heard.ts';

const heard = (localName?: string, more: Partial<Heard> = {}): Heard => ({
  address: 'be:ff:20:00:11:22',
  rssi: -60,
  connectable: true,
  serviceUuids: [],
  ...(localName !== undefined && { localName }),
  ...more,
});

describe('what is heard in the air, for people', () => {
  it('is named by the family that claims it', () => {
    expect(describeHeard(heard('ELK-BLEDOB  '))).toEqual({
      address: 'be:ff:20:00:11:22',
      name: 'ELK-BLEDOB',
      rssi: -60,
      connectable: true,
      family: 'elk-bledom',
      model: 'ELK-BLEDOB',
      supported: true,
    });
  });

  it('is shown without a family where none claims it, and without a signal that is not known', () => {
    expect(describeHeard(heard(undefined, { rssi: 127, connectable: false }))).toEqual({
      address: 'be:ff:20:00:11:22',
      name: '',
      connectable: false,
    });
  });

  it('says why a lamp cannot be driven', () => {
    const identity = pinned('triones');
    const locked = { ...identity, model: { ...identity.model, unsupported: 'it wants to be paired' } };
    expect(describeHeard(heard('x'), { id: 'porch', identity: locked })).toMatchObject({
      configured: 'porch',
      supported: false,
      reason: 'it wants to be paired',
    });
  });

  it('is, at the address of a lamp of ours, who that one is known to be, whatever it calls itself', () => {
    const ours = { id: 'porch', identity: pinned('triones') };
    expect(describeHeard(heard('ELK-BLEDOM'), ours)).toMatchObject({ configured: 'porch', family: 'triones' });
    expect(describeHeard(heard('ELK-BLEDOM'), { id: 'porch', identity: undefined })).toMatchObject({
      configured: 'porch',
      family: 'elk-bledom',
    });
  });

  it.each([
    ['\u001b]0;owned\u0007ELK-BLEDOM', /^\ufffd\]0;owned\ufffdELK-BLEDOM$/],
    ['\u202eMODELB-KLE', /^\ufffdMODELB-KLE$/],
    [Buffer.from([0x45, 0xff, 0xfe, 0xc0, 0xaf]).toString('utf8'), /^E\ufffd+$/],
    ['☠'.repeat(248), /^☠{80}…$/],
    ['💡'.repeat(124), /^💡{40}…$/u],
    ['a\u0000b\0\0  ', /^a\ufffdb$/],
  ])('has a name that is safe to print: %j', (name, safe) => {
    expect(describeHeard(heard(name)).name).toMatch(safe);
  });
});
