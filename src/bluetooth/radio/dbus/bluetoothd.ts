import { PorchlightError } from '../../../errors.ts';
import {
  ADAPTER,
  adapterPath,
  addressAt,
  BLUEZ,
  DAEMON,
  DAEMON_PATH,
  DEVICE,
  OBJECT_MANAGER,
  PROPERTIES,
} from './bluez.ts';
import { Bus, CallFailed, type Signal } from './bus.ts';
import { isAbsent, isDenied, isServiceGone } from './failures.ts';
import { type Properties, propertiesOf, stringOf, stringsOf } from './values.ts';

export type Power = 'poweredOn' | 'poweredOff' | 'unauthorized';

export interface BluetoothdEvents {
  /** What the adapter is, and in words why it is not on. Told again only when it changed. */
  readonly onPower: (power: Power, why: string) => void;
  /** Something was said of a device of this adapter. `added`: with all that is known of it, because it is new. */
  readonly onDevice: (address: string, changed: Properties, dropped: readonly string[], added: boolean) => void;
  /** Discovery began or ended, for whatever client. */
  readonly onDiscovering: (on: boolean) => void;
  /** The bus went away: a fresh process is to find it again. */
  readonly onBusLost: (reason: string) => void;
}

/** Of one object. */
export interface Watcher {
  readonly onChanged?: (of: string, changed: Properties) => void;
  readonly onAdded?: () => void;
  readonly onRemoved?: () => void;
}

/** A bluetoothd that lives answers in a millisecond; one that is silent for this long, twice, is hung. */
const LOOK_MS = 4000;
const MOST_SILENCES = 2;

/**
 * bluetoothd on its bus, and one adapter of it: there or not, on or off. What is said of the adapter's objects is passed on
 * only where bluetoothd itself said it: on the system's bus, every program may send anybody a signal.
 */
export class Bluetoothd {
  readonly adapter: string;
  readonly path: string;
  readonly #events: BluetoothdEvents;
  readonly #watchers = new Map<string, Set<Watcher>>();
  #bus: Bus | undefined;
  #owner = '';
  #power: Power | undefined;
  #why = '';
  #silences = 0;
  #looking = false;

  constructor(adapter: string, events: BluetoothdEvents) {
    this.adapter = adapter;
    this.path = adapterPath(adapter);
    this.#events = events;
  }

  get isOn(): boolean {
    return this.#power === 'poweredOn';
  }

  /**
   * Looks whether all is there: bus, bluetoothd, adapter, and that it answers. Called every second or so; signals tell most
   * changes before. Never rejects.
   */
  async look(busAddress: string | undefined): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.#bus ??= await this.#open(busAddress);
      await this.#readAdapter();
      this.#silences = 0;
    } catch (thrown) {
      this.#judge(thrown);
    } finally {
      this.#looking = false;
    }
  }

  /** Calls a method of bluetoothd's. Rejects with `CallFailed`. */
  call(
    path: string,
    of: string,
    member: string,
    options: { readonly signature?: string; readonly body?: readonly unknown[]; readonly deadlineMs?: number } = {},
  ): Promise<readonly unknown[]> {
    const { deadlineMs, ...values } = options;
    if (this.#bus === undefined) return Promise.reject(new PorchlightError('adapter_off'));
    return this.#bus.call({ destination: BLUEZ, path, interface: of, member, ...values }, deadlineMs);
  }

  /** All properties of one object's interface. */
  async properties(path: string, of: string, deadlineMs?: number): Promise<Properties> {
    const values = { signature: 's', body: [of], ...(deadlineMs !== undefined ? { deadlineMs } : {}) };
    const [all] = await this.call(path, PROPERTIES, 'GetAll', values);
    return propertiesOf(all);
  }

  /** Tells what is said of that object, until the answer is called. */
  watch(path: string, watcher: Watcher): () => void {
    const all = this.#watchers.get(path) ?? new Set();
    this.#watchers.set(path, all);
    all.add(watcher);
    return () => {
      all.delete(watcher);
      if (all.size === 0 && this.#watchers.get(path) === all) this.#watchers.delete(path);
    };
  }

  close(): void {
    this.#bus?.close();
  }

  async #open(address: string | undefined): Promise<Bus> {
    const onClosed = (reason: string): void => {
      this.#change('poweredOff', `the system bus went away: ${reason}`);
      this.#events.onBusLost(reason);
    };
    const bus = await Bus.open(address, (signal) => this.#hear(signal), onClosed);
    const below = `path_namespace='${this.path}'`;
    const rules = [
      `type='signal',sender='${DAEMON}',interface='${DAEMON}',member='NameOwnerChanged',arg0='${BLUEZ}'`,
      `type='signal',sender='${BLUEZ}',interface='${PROPERTIES}',member='PropertiesChanged',${below}`,
      `type='signal',sender='${BLUEZ}',interface='${OBJECT_MANAGER}',arg0path='${this.path}'`,
      `type='signal',sender='${BLUEZ}',interface='${OBJECT_MANAGER}',arg0path='${this.path}/'`,
    ];
    const daemon = { destination: DAEMON, path: DAEMON_PATH, interface: DAEMON };
    try {
      for (const rule of rules) await bus.call({ ...daemon, member: 'AddMatch', signature: 's', body: [rule] });
      return bus;
    } catch (thrown) {
      bus.close();
      throw thrown;
    }
  }

  async #readAdapter(): Promise<void> {
    const daemon = { destination: DAEMON, path: DAEMON_PATH, interface: DAEMON };
    const answer = await this.#bus?.call({ ...daemon, member: 'GetNameOwner', signature: 's', body: [BLUEZ] });
    this.#changeOwner(stringOf(answer?.[0]) ?? '');
    const owner = this.#owner;
    const properties = await this.properties(this.path, ADAPTER, LOOK_MS);
    if (owner === this.#owner) this.#takeAdapter(properties, true);
  }

  #judge(thrown: unknown): void {
    if (this.#bus === undefined) this.#change('poweredOff', `there is no system bus: ${reasonOf(thrown)}`);
    else if (isServiceGone(thrown)) this.#change('poweredOff', 'bluetoothd is not running');
    else if (isDenied(thrown)) this.#change('unauthorized', 'the bus does not let this user speak to bluetoothd');
    else if (isAbsent(thrown)) this.#change('poweredOff', `bluetoothd knows no adapter ${this.adapter}`);
    else {
      this.#silences += 1;
      if (this.#silences >= MOST_SILENCES) this.#change('poweredOff', 'bluetoothd does not answer');
    }
  }

  #hear({ sender, path, interface: from, member, body }: Signal): void {
    if (sender === DAEMON && member === 'NameOwnerChanged' && body[0] === BLUEZ) {
      this.#changeOwner(stringOf(body[2]) ?? '');
    } else if (sender !== this.#owner || sender === '') {
      return;
    } else if (from === PROPERTIES && member === 'PropertiesChanged') {
      this.#hearProperties(path, stringOf(body[0]) ?? '', propertiesOf(body[1]), stringsOf(body[2]));
    } else if (from === OBJECT_MANAGER && member === 'InterfacesAdded') {
      this.#hearAdded(stringOf(body[0]) ?? '', body[1]);
    } else if (from === OBJECT_MANAGER && member === 'InterfacesRemoved') {
      this.#hearRemoved(stringOf(body[0]) ?? '', stringsOf(body[1]));
    }
  }

  #hearProperties(path: string, of: string, changed: Properties, dropped: readonly string[]): void {
    if (path === this.path && of === ADAPTER) this.#takeAdapter(changed, false);
    for (const watcher of [...(this.#watchers.get(path) ?? [])]) watcher.onChanged?.(of, changed);
    const address = of === DEVICE ? addressAt(this.adapter, path) : undefined;
    if (address !== undefined) this.#events.onDevice(address, changed, dropped, false);
  }

  #hearAdded(path: string, interfaces: unknown): void {
    if (typeof interfaces !== 'object' || interfaces === null) return;
    const of = (name: string): Properties | undefined =>
      Object.hasOwn(interfaces, name)
        ? propertiesOf(Object.entries(interfaces).find(([key]) => key === name)?.[1])
        : undefined;
    const adapter = path === this.path ? of(ADAPTER) : undefined;
    if (adapter !== undefined) this.#takeAdapter(adapter, true);
    const address = addressAt(this.adapter, path);
    const device = address === undefined ? undefined : of(DEVICE);
    if (address === undefined || device === undefined) return;
    for (const watcher of [...(this.#watchers.get(path) ?? [])]) watcher.onAdded?.();
    this.#events.onDevice(address, device, [], true);
  }

  #hearRemoved(path: string, interfaces: readonly string[]): void {
    if (path === this.path && interfaces.includes(ADAPTER)) {
      this.#change('poweredOff', `the adapter ${this.adapter} was removed`);
    }
    for (const watcher of [...(this.#watchers.get(path) ?? [])]) watcher.onRemoved?.();
  }

  #changeOwner(owner: string): void {
    if (owner === this.#owner) return;
    const had = this.#owner !== '';
    this.#owner = owner;
    this.#silences = 0;
    // A new owner begins with nothing: no links, no discovery. The adapter is read before it counts as on again.
    if (had) this.#change('poweredOff', owner === '' ? 'bluetoothd was stopped' : 'bluetoothd was restarted');
  }

  #takeAdapter(properties: Properties, all: boolean): void {
    const powered = properties.get('Powered');
    const off = `bluetoothd keeps ${this.adapter} switched off ("bluetoothctl power on" switches it on)`;
    if (powered === true) this.#change('poweredOn', '');
    else if (powered === false || all) this.#change('poweredOff', off);
    const discovering = properties.get('Discovering');
    if (typeof discovering === 'boolean') this.#events.onDiscovering(discovering);
  }

  #change(power: Power, why: string): void {
    if (power === this.#power && why === this.#why) return;
    this.#power = power;
    this.#why = why;
    this.#events.onPower(power, why);
  }
}

const reasonOf = (thrown: unknown): string =>
  (thrown instanceof CallFailed ? thrown.text : String(thrown)).slice(0, 120);
