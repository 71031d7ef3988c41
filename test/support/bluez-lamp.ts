import { type Message, Variant } from '@particle/dbus-next';

export const ROOT = '/org/bluez';
const BASE = '-0000-1000-8000-00805f9b34fb';

export type Properties = Record<string, Variant>;

export interface FakeCharacteristic {
  readonly uuid: string;
  readonly flags: readonly string[];
  readonly value?: string;
}

export interface FakeLampInput {
  readonly address: string;
  readonly addressType?: 'public' | 'random';
  readonly name?: string;
  readonly uuids?: readonly string[];
  /** Hex by company. */
  readonly manufacturerData?: Readonly<Record<number, string>>;
  /** Hex by UUID. */
  readonly serviceData?: Readonly<Record<string, string>>;
  readonly services?: readonly { readonly uuid: string; readonly characteristics: readonly FakeCharacteristic[] }[];
  readonly mtu?: number | undefined;
}

export type LampFault =
  /** `Connect` is not answered, and nothing happens, until it is cancelled. */
  | { readonly kind: 'out-of-range' }
  /** `Connect` is answered with this. */
  | { readonly kind: 'connect-fails'; readonly error: string; readonly text: string }
  /** Connected, but never resolved. */
  | { readonly kind: 'never-resolves' }
  /** Drops the link in the middle of discovery. */
  | { readonly kind: 'drops-early' }
  /** Reads, writes and StartNotify are not answered. */
  | { readonly kind: 'mute' }
  | { readonly kind: 'refuses'; readonly error: string; readonly text: string }
  /** `Disconnect` is never answered, and the link stays. */
  | { readonly kind: 'clings' };

export const GATT: NonNullable<FakeLampInput['services']> = [
  {
    uuid: 'fff0',
    characteristics: [
      { uuid: 'fff3', flags: ['read', 'write', 'write-without-response'], value: '01' },
      { uuid: 'fff4', flags: ['read', 'notify'], value: '0203' },
      { uuid: 'fff5', flags: ['write-without-response'] },
    ],
  },
];

export const fullUuid = (uuid: string): string => (uuid.length === 4 ? `0000${uuid}${BASE}` : uuid);

/** A device that bluetoothd may know, and what it does. */
export class FakeLamp {
  readonly input: FakeLampInput;
  readonly path: string;
  fault: LampFault | undefined;
  connected = false;
  /** `Connect` calls that wait. */
  readonly connecting: Message[] = [];
  /** Lets each write wait so long. */
  writeMs = 0;

  constructor(adapter: string, input: FakeLampInput) {
    this.input = input;
    this.path = `${ROOT}/${adapter}/dev_${input.address.toUpperCase().replaceAll(':', '_')}`;
  }
}

export const manufacturerVariant = (data: Readonly<Record<number, string>>): Variant =>
  new Variant(
    'a{qv}',
    Object.fromEntries(Object.entries(data).map(([id, hex]) => [id, new Variant('ay', Buffer.from(hex, 'hex'))])),
  );

export const serviceVariant = (data: Readonly<Record<string, string>>): Variant =>
  new Variant(
    'a{sv}',
    Object.fromEntries(
      Object.entries(data).map(([uuid, hex]) => [fullUuid(uuid), new Variant('ay', Buffer.from(hex, 'hex'))]),
    ),
  );
