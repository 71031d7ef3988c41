import { asPorchlightError, PorchlightError } from '../errors.ts';
import type { Advertisement, GattLayout, LightFamily } from '../lights/family.ts';
import type { Identity } from '../lights/port.ts';
import { printable } from '../log.ts';
import type { Link } from './central.ts';
import { fingerprintOf } from './fingerprint.ts';
import { LONGEST_NAME } from './limits.ts';
import type { Pin } from './pins.ts';

/** Device Name, of the Generic Access service: who is it that never was heard? */
const DEVICE_NAME = '2a00';

/** What is known of families: all of them, and whom an advertisement can be, the likeliest first. */
export interface Protocols {
  readonly families: readonly LightFamily[];
  readonly recognise: (advert: Advertisement) => readonly Identity[];
}

/** Who a linked lamp is, proven by its characteristics as far as they can prove it. */
export interface Identified extends Identity {
  readonly layout: GattLayout;
  readonly fingerprint: string;
}

/**
 * Which candidate the lamp's characteristics agree with. Rejects with `identity_mismatch` where they agree with none, or are
 * not those that were pinned. Nothing is written, only read (the name, of a lamp that nobody heard or pinned).
 */
export async function identify(
  link: Link,
  known: { readonly candidates: readonly Identity[]; readonly pin: Pin | undefined },
  protocols: Protocols,
): Promise<Identified> {
  const fingerprint = fingerprintOf(link.characteristics);
  if (known.pin !== undefined && known.pin.fingerprint !== fingerprint) throw new PorchlightError('identity_mismatch');
  const candidates = known.candidates.length > 0 ? known.candidates : await whoCouldItBe(link, protocols);
  for (const { family, model } of candidates) {
    const layout = family.gatt.find((one) => fits(one, link));
    if (layout !== undefined) return { family, model, layout, fingerprint };
  }
  throw new PorchlightError('identity_mismatch', notOneOf(candidates), {
    hint: 'Check its address and "model:" under "lights:"; "porchlight scan" shows who is in the air.',
  });
}

/** The family and model that a pin names, where this version still has them. */
export function pinnedIdentity(pin: Pin | undefined, families: readonly LightFamily[]): Identity | undefined {
  const family = families.find(({ id }) => id === pin?.family);
  const model = family?.models.find(({ id }) => id === pin?.model) ?? family?.models[0];
  return family === undefined || model === undefined ? undefined : { family, model };
}

async function whoCouldItBe(link: Link, { families, recognise }: Protocols): Promise<readonly Identity[]> {
  const named = recognise({ localName: await deviceName(link), serviceUuids: [] });
  if (named.length > 0) return named;
  // Never heard and nameless: only where a single family could drive it is it no guess.
  const fitting = families.filter((family) => family.gatt.some((layout) => fits(layout, link)));
  const [family] = fitting;
  const model = family?.models.find((one) => one.unsupported === undefined);
  return fitting.length === 1 && family !== undefined && model !== undefined ? [{ family, model }] : [];
}

/** A layout fits where its write characteristic is there and can be written, in its service where it names one. */
function fits(layout: GattLayout, link: Link): boolean {
  return link.characteristics.some(
    (one) =>
      one.uuid === layout.write &&
      (layout.service === undefined || one.service === layout.service) &&
      (one.properties.includes('write') || one.properties.includes('writeWithoutResponse')),
  );
}

function notOneOf(candidates: readonly Identity[]): string {
  const names = [...new Set(candidates.map(({ family }) => family.id))].join(' or ');
  return names === ''
    ? 'The device at this address is no lamp that this gateway knows.'
    : `The device at this address is not built like a lamp of the family ${names}.`;
}

async function deviceName(link: Link): Promise<string> {
  const named = link.characteristics.some((one) => one.uuid === DEVICE_NAME && one.properties.includes('read'));
  if (!named) return '';
  try {
    const name = Buffer.from(await link.read(DEVICE_NAME)).toString('utf8');
    return printable(name.replace(/\0+$/, ''), LONGEST_NAME);
  } catch (thrown) {
    const error = asPorchlightError(thrown);
    if (error.code === 'refused_by_light') return '';
    throw error;
  }
}
