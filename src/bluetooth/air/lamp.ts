import { canonicalUuid } from '../uuid.ts';
import { type AdvertisingData, advertisingData } from './advertising.ts';
import { AttServer } from './att-server.ts';
import { attributeTable, type ServiceSpec } from './gatt.ts';
import { elkBledom } from './lamps/elk-bledom.ts';
import type { LampKind, Session } from './lamps/kind.ts';
import { triones } from './lamps/triones.ts';
import type { LampFault, LampReport, LampSpec, LampState, Written } from './messages.ts';

const KINDS: Readonly<Record<LampSpec['family'], LampKind>> = { triones, 'elk-bledom': elkBledom };

/** A battery and a heart rate sensor: certainly not a lamp. */
const SOMETHING_ELSE: readonly ServiceSpec[] = [
  { uuid: '180f', characteristics: [{ uuid: '2a19', properties: ['read', 'notify'], value: Uint8Array.of(77) }] },
  { uuid: '180d', characteristics: [{ uuid: '2a37', properties: ['notify'] }] },
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
  push(pdu: Buffer): void;
  /** The link dies at once, for this HCI reason. */
  lose(reason: number): void;
  /** The lamp went out of range or came back. */
  suspend(on: boolean): void;
}

/** As zod parses an optional member: absent or undefined. */
type LampChange = { readonly [K in keyof LampState]?: LampState[K] | undefined };

type FaultOf<K extends LampFault['kind']> = Extract<LampFault, { kind: K }>;

/** The faults of one lamp that are on. */
class Faults {
  readonly #on = new Map<LampFault['kind'], LampFault>();

  set(fault: LampFault, on: boolean): void {
    if (on) this.#on.set(fault.kind, fault);
    else this.#on.delete(fault.kind);
  }

  get<K extends LampFault['kind']>(kind: K): FaultOf<K> | undefined {
    const found = this.#on.get(kind);
    return found !== undefined && isKind(found, kind) ? found : undefined;
  }
}

function isKind<K extends LampFault['kind']>(fault: LampFault, kind: K): fault is FaultOf<K> {
  return fault.kind === kind;
}

/** One lamp: it outlives links and controllers, as a real one does. */
export class VirtualLamp {
  readonly spec: LampSpec;
  readonly faults = new Faults();
  readonly advertising: AdvertisingData;
  readonly #kind: LampKind;
  readonly #evidence: Evidence;
  readonly #now: () => Moment;
  #state: LampState;
  #link: LampLink | undefined;
  #att: AttServer | undefined;
  #session: Session = { woken: 0, wokenAt: 0 };
  #subscribed = new Set<string>();

  constructor(spec: LampSpec, evidence: Evidence, now: () => Moment) {
    this.spec = spec;
    this.#kind = KINDS[spec.family];
    this.#evidence = evidence;
    this.#now = now;
    this.#state = merged(this.#kind.initial, spec.state ?? {});
    this.advertising = advertisingData({
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
    return this.#link === undefined && this.faults.get('out-of-range') === undefined;
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
    this.#evidence.linked(this);
  }

  /** The connection is gone. */
  disconnected(): void {
    if (this.#link === undefined) return;
    this.#link = undefined;
    this.#att = undefined;
    this.#subscribed = new Set();
    this.#evidence.linked(this);
  }

  /** One ATT PDU from the central; what it returns goes back. */
  att(pdu: Buffer): Buffer | undefined {
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
      default:
        this.faults.set(fault, on);
        if (fault.kind === 'out-of-range') this.#link?.suspend(on);
    }
  }

  report(): LampReport {
    return {
      lamp: this.spec.address,
      name: this.spec.name,
      family: this.spec.family,
      connected: this.connected,
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

  #notify(characteristic: string, value: Uint8Array): void {
    const pdu = this.#att?.notification(characteristic, value);
    if (pdu !== undefined) this.#link?.push(pdu);
  }
}

/** Members that are undefined change nothing. */
function merged(state: LampState, set: LampChange): LampState {
  return { ...state, ...Object.fromEntries(Object.entries(set).filter(([, value]) => value !== undefined)) };
}
