import { PorchlightError } from '../../../errors.ts';
import { MOST_CHARACTERISTICS } from '../../limits.ts';
import { canonicalUuid } from '../../uuid.ts';
import type { Bluetoothd } from './bluetoothd.ts';
import { CHARACTERISTIC, INTROSPECTABLE, SERVICE } from './bluez.ts';
import { isAbsent } from './failures.ts';
import { type Properties, stringOf, stringsOf, wholeOf } from './values.ts';

/** As many as characteristics: a service without any is no use to a lamp. */
const MOST_SERVICES = MOST_CHARACTERISTICS;
/** Generic Attribute says nothing of a lamp; bluetoothd listens to it itself. */
const GENERIC_ATTRIBUTE = '1801';
/** The lowest and highest ATT_MTU there are (Core specification, Vol 3, Part F, 3.2.8; a value is at most 512 octets). */
const LEAST_MTU = 23;
const MOST_MTU = 517;

export interface Found {
  readonly path: string;
  readonly service: string;
  readonly uuid: string;
  /** As noble calls them. */
  readonly properties: readonly string[];
  /** Undefined where this bluetoothd (before 5.62) does not tell. */
  mtu: number | undefined;
}

/** BlueZ's flags by noble's names; the others say nothing that a lamp is driven by. */
const PROPERTY: Readonly<Record<string, string>> = {
  broadcast: 'broadcast',
  read: 'read',
  'write-without-response': 'writeWithoutResponse',
  write: 'write',
  notify: 'notify',
  indicate: 'indicate',
  'authenticated-signed-writes': 'authenticatedSignedWrites',
  'extended-properties': 'extendedProperties',
};

/**
 * The characteristics of a connected device, in the order of their handles. Each object is asked for its children: the list
 * of all managed objects would hold every device that bluetoothd heard lately, thousands where somebody makes up addresses.
 */
export async function characteristicsOf(bluetoothd: Bluetoothd, device: string): Promise<Found[]> {
  const services = (await childrenOf(bluetoothd, device, /^service[0-9a-f]{2,8}$/)).slice(0, MOST_SERVICES);
  const found: Found[] = [];
  const lists = await Promise.all(services.map((service) => inService(bluetoothd, service)));
  for (const list of lists) found.push(...list);
  return found.slice(0, MOST_CHARACTERISTICS);
}

async function inService(bluetoothd: Bluetoothd, path: string): Promise<Found[]> {
  const [properties, children] = await Promise.all([
    propertiesOrNone(bluetoothd, path, SERVICE),
    childrenOf(bluetoothd, path, /^char[0-9a-f]{2,8}$/),
  ]);
  const service = uuidOf(properties);
  if (service === undefined || service === GENERIC_ATTRIBUTE) return [];
  const all = await Promise.all(
    children.slice(0, MOST_CHARACTERISTICS).map(async (child): Promise<Found | undefined> => {
      const of = await propertiesOrNone(bluetoothd, child, CHARACTERISTIC);
      const uuid = uuidOf(of);
      if (uuid === undefined) return undefined;
      const flags = stringsOf(of.get('Flags')).flatMap((flag) =>
        Object.hasOwn(PROPERTY, flag) ? (PROPERTY[flag] ?? []) : [],
      );
      return { path: child, service, uuid, properties: [...new Set(flags)], mtu: mtuOf(of) };
    }),
  );
  return all.filter((one) => one !== undefined);
}

export const mtuOf = (properties: Properties): number | undefined =>
  wholeOf(properties.get('MTU'), LEAST_MTU, MOST_MTU);

/** What went between two questions had no part in it. */
async function propertiesOrNone(bluetoothd: Bluetoothd, path: string, of: string): Promise<Properties> {
  try {
    return await bluetoothd.properties(path, of);
  } catch (thrown) {
    if (isAbsent(thrown)) return new Map();
    throw thrown;
  }
}

const NODE = /<node name="([0-9a-z]{1,20})"/g;

async function childrenOf(bluetoothd: Bluetoothd, path: string, name: RegExp): Promise<string[]> {
  const [xml] = await bluetoothd.call(path, INTROSPECTABLE, 'Introspect');
  const text = stringOf(xml);
  if (text === undefined) throw new PorchlightError('connect_failed', 'bluetoothd does not name its objects.');
  const names = [...text.matchAll(NODE)].flatMap(([, child]) =>
    child !== undefined && name.test(child) ? [child] : [],
  );
  // The handle is in the name, in hexadecimal digits.
  return [...new Set(names)].sort().map((child) => `${path}/${child}`);
}

function uuidOf(properties: Properties): string | undefined {
  const uuid = stringOf(properties.get('UUID'));
  return uuid !== undefined && /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)
    ? canonicalUuid(uuid)
    : undefined;
}
