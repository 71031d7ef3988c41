import { canonicalUuid } from '../uuid.ts';

/** The attribute table of a peripheral (Core Specification, Vol 3 Part G). UUIDs are canonical (`uuid.ts`). */

/** Characteristic properties, Part G section 3.3.1.1. */
const PROPERTY = { read: 0x02, writeWithoutResponse: 0x04, write: 0x08, notify: 0x10, indicate: 0x20 } as const;
export type Property = keyof typeof PROPERTY;

export interface CharacteristicSpec {
  readonly uuid: string;
  readonly properties: readonly Property[];
  readonly value?: Uint8Array;
}

export interface ServiceSpec {
  readonly uuid: string;
  readonly characteristics: readonly CharacteristicSpec[];
}

export interface Attribute {
  readonly handle: number;
  /** Canonical UUID of what it is: `2800` service, `2803` characteristic declaration, `2902` CCCD, or the value's own. */
  readonly type: string;
  /** Its value where it never changes; values of characteristics and CCCDs are kept by the server. */
  readonly value: Uint8Array;
  readonly readable: boolean;
  readonly writable: { readonly request: boolean; readonly command: boolean };
  /** Of a service declaration: the last handle of its group. */
  readonly groupEnd?: number;
  /** Of a value or a CCCD: the characteristic it belongs to. */
  readonly characteristic?: string;
}

export const TYPE = {
  PRIMARY_SERVICE: '2800',
  SECONDARY_SERVICE: '2801',
  CHARACTERISTIC: '2803',
  CCCD: '2902',
} as const;

/** A UUID's bytes on the air: 2 or 16, least significant first. */
export function uuidBytes(uuid: string): Buffer {
  return Buffer.from(canonicalUuid(uuid).replaceAll('-', ''), 'hex').reverse();
}

/** The canonical UUID of 2 or 16 bytes from the air. */
export function uuidFrom(bytes: Uint8Array): string {
  return canonicalUuid(Buffer.from(bytes).reverse().toString('hex'));
}

/** GAP and GATT, which every peripheral has and which come first on real parts (Part C section 12, Part G section 7). */
function commonServices(name: string): readonly ServiceSpec[] {
  return [
    {
      uuid: '1800',
      characteristics: [
        { uuid: '2a00', properties: ['read'], value: Buffer.from(name, 'utf8') },
        { uuid: '2a01', properties: ['read'], value: Buffer.from([0, 0]) },
      ],
    },
    { uuid: '1801', characteristics: [{ uuid: '2a05', properties: ['indicate'] }] },
  ];
}

const READ_ONLY = { request: false, command: false } as const;

/** Lays the services out as attributes with handles from 1, GAP and GATT first. */
export function attributeTable(name: string, services: readonly ServiceSpec[]): readonly Attribute[] {
  const table: Attribute[] = [];
  for (const service of [...commonServices(name), ...services]) {
    const body: Attribute[] = [];
    const first = table.length + 1;
    for (const characteristic of service.characteristics) {
      body.push(...characteristicAttributes(characteristic, first + 1 + body.length));
    }
    const value = uuidBytes(service.uuid);
    const groupEnd = first + body.length;
    table.push({ handle: first, type: TYPE.PRIMARY_SERVICE, value, readable: true, writable: READ_ONLY, groupEnd });
    table.push(...body);
  }
  return table;
}

/** Declaration, value and, where the characteristic can push, its CCCD (Part G section 3.3). */
function characteristicAttributes(spec: CharacteristicSpec, handle: number): readonly Attribute[] {
  const has = (property: Property): boolean => spec.properties.includes(property);
  const bits = spec.properties.reduce((sum, property) => sum | PROPERTY[property], 0);
  const uuid = canonicalUuid(spec.uuid);
  const declaration = Buffer.concat([Buffer.from([bits, (handle + 1) & 0xff, (handle + 1) >> 8]), uuidBytes(uuid)]);
  const attributes: Attribute[] = [
    { handle, type: TYPE.CHARACTERISTIC, value: declaration, readable: true, writable: READ_ONLY },
    {
      handle: handle + 1,
      type: uuid,
      value: spec.value ?? new Uint8Array(0),
      readable: has('read'),
      writable: { request: has('write'), command: has('writeWithoutResponse') },
      characteristic: uuid,
    },
  ];
  if (has('notify') || has('indicate')) {
    attributes.push({
      handle: handle + 2,
      type: TYPE.CCCD,
      value: Buffer.from([0, 0]),
      readable: true,
      writable: { request: true, command: false },
      characteristic: uuid,
    });
  }
  return attributes;
}
