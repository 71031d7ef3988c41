import { canonicalUuid } from '../uuid.ts';
import { type AirAddress, privateAddress } from './address.ts';
import { type AdvertisingData, advertisingData, extendedAdvertisingData } from './advertising.ts';
import { AttServer } from './att-server.ts';
import { Faults } from './faults.ts';
import { attributeTable, type ServiceSpec } from './gatt.ts';
import { Lies } from './hostile.ts';
import { elkBledom } from './lamps/elk-bledom.ts';
import type { LampKind, Session } from './lamps/kind.ts';
import { triones } from './lamps/triones.ts';
import type { LampFault, LampReport, LampSpec, LampState, Written } from './messages.ts';

const KINDS: Readonly<Record<LampSpec['family'], LampKind>> = { triones, 'elk-bledom': elkBledom };

/** A battery and a heart rate sensor: certainly not a lamp. */
const SOMETHING_ELSE: readonly ServiceSpec[] = [
  { uuid: '180f', characteristics: [{ uuid: '2a19', properties: ['read', 'notify'], value: Uint8Array.of(77) }] },
  { uuid: '180d', characteristics: [{ uuid: '2a37', properties: ['notify'] }] },
  // As short as a UUID can be: stacks that drop zeros lose it.
  { uuid: '0af0', characteristics: [{ uuid: '00f1', properties: ['read'], value: Uint8Array.of(1) }] },
];

/** Who is told what happens at the lamps. */
export interface Evidence {
  written(entry: Written): void;
  changed(lamp: VirtualLamp): void;
  linked(lamp: VirtualLamp): void;
}

/** One moment in milliseconds: since the Unix epoch, and by the machine's monotonic clock. */
export interface Moment {
  readonly at: number;
  readonly mono: number;
}

/** The lamp's end of a connection, as the lamp uses it. */
export interface LampLink {
  readonly handle: number;
  readonly timing: { readonly intervalMs: number; readonly supervisionMs: number };
  push(pdu: Buffer): void;
  /** The link dies at once, for this HCI reason. */
  lose(reason: number): void;
  /** The lamp went out of range or came back. */
  suspend(on: boolean): void;
  /** The lamp has forgotten the link, which the controller does not know. */
  orphan(): void;
}

/** As zod parses an optional member: absent or undefined. */
type LampChange = { readonly [K in keyof LampState]?: LampState[K] | undefined };

/** One lamp: it outlives links and controllers, as a real one does. */
export class VirtualLamp {
  readonly spec: LampSpec;
  readonly faults = new Faults<LampFault>();
  readonly advertising: AdvertisingData;
  readonly #kind: LampKind;
  readonly #evidence: Evidence;
  readonly #now: () => Moment;
  #state: LampState;
  #link: LampLink | undefined;
  #att: AttServer | undefined;
  #session: Session = { woken: 0, wokenAt: 0 };
  #subscribed = new Set<string>();
  #address: AirAddress | undefined;
  /** Connects that have failed since the last one that did not. */
  #connects = 0;
  #babble: NodeJS.Timeout | undefined;
  #lies: Lies | undefined;

  constructor(spec: LampSpec, evidence: Evidence, now: () => Moment) {
    this.spec = spec;
    this.#kind = KINDS[spec.family];
    this.#evidence = evidence;
    this.#now = now;
    this.#state = merged(this.#kind.initial, spec.state ?? {});
    const data = spec.advertises === 'extended' ? extendedAdvertisingData : advertisingData;
    this.advertising = data({
      name: spec.name,
      serviceUuids: spec.serviceUuids ?? this.#kind.advertised(spec),
      manufacturerData: Buffer.from(spec.manufacturerData ?? '', 'hex'),
    });
  }

  get state(): LampState {
    return this.#state;
  }

  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** Most lamps fall silent while somebody is connected. */
  get heard(): boolean {
    const taken = this.#link !== undefined || this.faults.has('held');
    return (!taken || this.spec.advertisesConnected) && !this.faults.has('out-of-range');
  }

  /** May a central connect, by what it advertises? */
  get connectable(): boolean {
    return this.spec.connectable && this.#link === undefined;
  }

  /** The address that it has on the air now. */
  get onAir(): AirAddress {
    const { address, addressType, rotatesAddressMs } = this.spec;
    if (rotatesAddressMs === undefined) return { address, addressType };
    // While a central is connected the address of that connection stays in use.
    if (this.#link === undefined || this.#address === undefined) {
      this.#address = privateAddress(address, Math.floor(this.#now().mono / rotatesAddressMs));
    }
    return this.#address;
  }

  /** Does this connect fail to be established? Asked once for each. */
  failsToConnect(): boolean {
    if (this.faults.has('held')) return true;
    this.#connects += 1;
    if (this.#connects < this.spec.needsConnects) return true;
    this.#connects = 0;
    return false;
  }

  /** A central has connected. */
  connect(link: LampLink): void {
    const services = this.faults.get('wrong-identity') ? SOMETHING_ELSE : this.#kind.services(this.spec);
    this.#link = link;
    this.#session = { woken: 0, wokenAt: 0 };
    this.#subscribed = new Set();
    this.#att = new AttServer(
      attributeTable(this.spec.name, services),
      {
        written: (characteristic, bytes, kind) => this.#written(characteristic, bytes, kind),
        subscribed: (characteristic, on) => {
          if (on) this.#subscribed.add(characteristic);
          else this.#subscribed.delete(characteristic);
        },
        mtuRefused: () => this.faults.get('refuses-mtu')?.code ?? 0,
      },
      this.spec.mtu,
    );
    if (this.spec.babblesMs !== undefined) this.#babble = setInterval(() => this.#say(), this.spec.babblesMs);
    this.#evidence.linked(this);
  }

  /** The connection is gone. */
  disconnected(link: LampLink): void {
    // It may have forgotten that link long ago, and have another.
    if (this.#link !== link) return;
    clearInterval(this.#babble);
    this.#link = undefined;
    this.#att = undefined;
    this.#subscribed = new Set();
    this.#evidence.linked(this);
  }

  /** One ATT PDU from the central; what it returns goes back. */
  att(pdu: Buffer): Buffer | undefined {
    const lie = this.#lies?.answer(pdu);
    if (lie !== undefined) return lie.length > 0 ? lie : undefined;
    const answer = this.#att?.handle(pdu);
    return this.faults.get('mute') ? undefined : answer;
  }

  /** A phone app or a remote control changes it. */
  change(set: LampChange): void {
    const before = JSON.stringify(this.#state);
    this.#state = merged(this.#state, set);
    if (JSON.stringify(this.#state) !== before) this.#evidence.changed(this);
  }

  fault(fault: LampFault, on: boolean): void {
    switch (fault.kind) {
      case 'link-loss':
        if (on) this.#link?.lose(0x08);
        return;
      case 'hangs-up':
        if (on) this.#link?.lose(0x13);
        return;
      case 'power-cut': {
        const link = this.#link;
        if (!on || link === undefined) return;
        link.orphan();
        this.disconnected(link);
        return;
      }
      default:
        this.faults.set(fault, on);
        if (fault.kind === 'hostile') this.#lies = on ? new Lies(fault.answers, fault.forever) : undefined;
        if (fault.kind === 'out-of-range') this.#link?.suspend(on);
    }
  }

  report(): LampReport {
    return {
      lamp: this.spec.address,
      onAir: this.onAir.address,
      name: this.spec.name,
      family: this.spec.family,
      connected: this.connected,
      ...(this.#link === undefined ? {} : { link: linkReport(this.#link) }),
      subscribed: [...this.#subscribed],
      state: this.#state,
    };
  }

  #written(characteristic: string, bytes: Buffer, kind: 'request' | 'command'): number {
    if (this.faults.get('link-loss-on-write')) {
      this.#link?.lose(0x08);
      return 0;
    }
    const { at, mono } = this.#now();
    const refused = this.faults.get('att-error')?.code ?? 0;
    const deaf = refused !== 0 || this.faults.get('mute') !== undefined || this.faults.get('disobeys') !== undefined;
    const control = this.#kind.control(this.spec);
    const reaction =
      deaf || characteristic !== canonicalUuid(control.write)
        ? undefined
        : this.#kind.obey({ bytes, state: this.#state, spec: this.spec, session: this.#session, now: mono });
    const result = refused !== 0 ? 'refused' : reaction === undefined ? 'ignored' : 'obeyed';
    this.#evidence.written({
      lamp: this.spec.address,
      characteristic,
      hex: bytes.toString('hex'),
      kind,
      at,
      mono,
      result,
    });
    if (reaction?.state !== undefined) this.change(reaction.state);
    if (reaction?.notify !== undefined) this.#notify(canonicalUuid(control.notify), reaction.notify);
    return refused;
  }

  /** Notifies out of turn, as some do for a connected phone, whether anybody subscribed or not. */
  #say(): void {
    const pdu = this.#att?.notification(canonicalUuid(this.#kind.control(this.spec).notify), Uint8Array.of(0x55), true);
    if (pdu !== undefined) this.#link?.push(pdu);
  }

  #notify(characteristic: string, value: Uint8Array): void {
    const pdu = this.#att?.notification(characteristic, value);
    if (pdu !== undefined) this.#link?.push(pdu);
  }
}

function linkReport({ handle, timing: { intervalMs, supervisionMs } }: LampLink): NonNullable<LampReport['link']> {
  return { handle, intervalMs, supervisionMs };
}

/** Members that are undefined change nothing. */
function merged(state: LampState, set: LampChange): LampState {
  return { ...state, ...Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined)) };
}
