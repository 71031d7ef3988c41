import { Message, type MessageBus, MessageType, sessionBus, Variant } from '@particle/dbus-next';
import {
  FakeLamp,
  type FakeLampInput,
  fullUuid,
  GATT,
  manufacturerVariant,
  type Properties,
  ROOT,
  serviceVariant,
} from './bluez-lamp.ts';

/**
 * bluetoothd as BlueZ documents it (doc/org.bluez.Adapter.rst, .Device.rst, .GattService.rst, .GattCharacteristic.rst), with
 * one adapter. Habits of the real one that are kept: objects of devices outlive their presence; links outlive the client
 * that asked for them; `Connect` is answered after the services are resolved; `Disconnect` takes its time (2 s in BlueZ, less
 * here); values that were read are announced like notifications; a notify session of a client is there once.
 */

const BLUEZ = 'org.bluez';
const ERROR = 'org.bluez.Error.';

type Interfaces = Map<string, Properties>;

export interface Written {
  readonly address: string;
  readonly uuid: string;
  readonly hex: string;
  readonly type: string;
}

export interface FakeBluezOptions {
  readonly adapter?: string;
  readonly powered?: boolean;
  readonly disconnectMs?: number;
  readonly connectMs?: number;
}

export class FakeBluez {
  readonly #address: string;
  readonly #adapter: string;
  readonly #options: FakeBluezOptions;
  readonly #objects = new Map<string, Interfaces>();
  readonly lamps = new Map<string, FakeLamp>();
  /** Every method call: `Interface.Member path`. */
  readonly calls: string[] = [];
  readonly written: Written[] = [];
  /** Those who discover, by their name on the bus. */
  readonly discovering = new Set<string>();
  filter: Readonly<Record<string, unknown>> | undefined;
  readonly #notifying = new Map<string, Set<string>>();
  #bus: MessageBus | undefined;
  /** Answers nothing at all. */
  hung = false;
  /** `StartDiscovery` is answered with this. */
  refusesDiscovery: { readonly error: string; readonly text: string } | undefined;
  /** Called once, behind the next answer to GetAll: what it says arrives together with the answer. */
  afterGetAll: (() => void) | undefined;
  #mostLinks = 0;

  constructor(address: string, options: FakeBluezOptions = {}) {
    this.#address = address;
    this.#options = options;
    this.#adapter = options.adapter ?? 'hci0';
  }

  get adapterPath(): string {
    return `${ROOT}/${this.#adapter}`;
  }
  get links(): number {
    return [...this.lamps.values()].filter((lamp) => lamp.connected).length;
  }
  get mostLinks(): number {
    return this.#mostLinks;
  }

  /** Starts, as after `systemctl start bluetooth`: the adapter is there, no device is. */
  async start(powered = this.#options.powered ?? true): Promise<void> {
    const bus = sessionBus({ busAddress: this.#address, authMethods: ['EXTERNAL'] });
    await new Promise<void>((resolve, reject) => {
      bus.on('connect', () => resolve());
      bus.on('error', reject);
    });
    bus.addMethodHandler((message: Message) => this.#handle(message));
    bus.on('message', (message) => this.#hear(message));
    this.#bus = bus;
    this.#objects.clear();
    this.#set(this.adapterPath, 'org.bluez.Adapter1', {
      Address: new Variant('s', '00:11:22:33:44:55'),
      Powered: new Variant('b', powered),
      Discovering: new Variant('b', false),
    });
    const rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'";
    const daemon = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' };
    await bus.call(
      new Message({ ...daemon, interface: 'org.freedesktop.DBus', member: 'AddMatch', signature: 's', body: [rule] }),
    );
    await bus.requestName(BLUEZ, 0);
  }

  /** Dies; the kernel ends its links. */
  stop(): void {
    this.#bus?.disconnect();
    this.#bus = undefined;
    this.discovering.clear();
    this.#notifying.clear();
    for (const lamp of this.lamps.values()) {
      lamp.connected = false;
      lamp.connecting.length = 0;
    }
  }

  addLamp(input: FakeLampInput): FakeLamp {
    const lamp = new FakeLamp(this.#adapter, input);
    this.lamps.set(input.address, lamp);
    return lamp;
  }

  /** The lamp advertises: bluetoothd says so while somebody discovers. */
  advertise(lamp: FakeLamp, news: { rssi?: number; manufacturerData?: Readonly<Record<number, string>> } = {}): void {
    if (this.discovering.size === 0 || lamp.connected) return;
    const { rssi = -60, manufacturerData = lamp.input.manufacturerData } = news;
    const heard: Properties = { RSSI: new Variant('n', rssi) };
    if (manufacturerData !== undefined) heard['ManufacturerData'] = manufacturerVariant(manufacturerData);
    if (lamp.input.serviceData !== undefined) heard['ServiceData'] = serviceVariant(lamp.input.serviceData);
    if (this.#objects.has(lamp.path)) this.change(lamp.path, 'org.bluez.Device1', heard);
    else this.know(lamp, heard);
  }

  /** Makes the lamp's object: it was just heard, or (without `heard`) is remembered from an earlier day. */
  know(lamp: FakeLamp, heard: Properties = {}): void {
    const { address, addressType = 'public', name, uuids = [] } = lamp.input;
    this.add(lamp.path, 'org.bluez.Device1', {
      Address: new Variant('s', address.toUpperCase()),
      AddressType: new Variant('s', addressType),
      Alias: new Variant('s', name ?? address.toUpperCase().replaceAll(':', '-')),
      ...(name !== undefined ? { Name: new Variant('s', name) } : {}),
      UUIDs: new Variant('as', uuids.map(fullUuid)),
      Connected: new Variant('b', lamp.connected),
      ServicesResolved: new Variant('b', false),
      Paired: new Variant('b', false),
      Adapter: new Variant('o', this.adapterPath),
      ...heard,
    });
  }

  /** What the lamp sends by itself. */
  notify(lamp: FakeLamp, uuid: string, hex: string): void {
    const path = this.#characteristic(lamp, uuid);
    if ((this.#notifying.get(path)?.size ?? 0) > 0) this.#value(path, Buffer.from(hex, 'hex'));
  }

  /** Out of range, hung up: the link ends. */
  drop(lamp: FakeLamp): void {
    if (!lamp.connected) return;
    lamp.connected = false;
    this.#withoutGatt(lamp);
    this.change(lamp.path, 'org.bluez.Device1', {
      Connected: new Variant('b', false),
      ServicesResolved: new Variant('b', false),
    });
  }

  /** Another program connects the lamp, or an earlier run of ours has. */
  connectFromElsewhere(lamp: FakeLamp): void {
    if (!this.#objects.has(lamp.path)) this.know(lamp);
    this.#connected(lamp);
    this.#resolve(lamp);
  }

  power(on: boolean): void {
    if (!on) {
      for (const lamp of this.lamps.values()) this.drop(lamp);
      this.discovering.clear();
    }
    this.change(this.adapterPath, 'org.bluez.Adapter1', {
      Powered: new Variant('b', on),
      ...(on ? {} : { Discovering: new Variant('b', false) }),
    });
  }

  /** bluetoothd's own end of discovery, without anybody having asked. */
  endDiscovery(): void {
    this.discovering.clear();
    this.change(this.adapterPath, 'org.bluez.Adapter1', { Discovering: new Variant('b', false) });
  }

  /** The adapter is unplugged, or plugged in. */
  plug(there: boolean): void {
    if (there) {
      this.add(this.adapterPath, 'org.bluez.Adapter1', {
        Powered: new Variant('b', true),
        Discovering: new Variant('b', false),
      });
      return;
    }
    for (const path of [...this.#objects.keys()]) this.remove(path);
    for (const lamp of this.lamps.values()) lamp.connected = false;
    this.discovering.clear();
  }

  add(path: string, of: string, properties: Properties): void {
    this.#set(path, of, properties);
    const body = [path, { [of]: properties }];
    this.signal('/', 'org.freedesktop.DBus.ObjectManager', 'InterfacesAdded', 'oa{sa{sv}}', body);
  }

  remove(path: string): void {
    const interfaces = [...(this.#objects.get(path)?.keys() ?? [])];
    this.#objects.delete(path);
    this.signal('/', 'org.freedesktop.DBus.ObjectManager', 'InterfacesRemoved', 'oas', [path, interfaces]);
  }

  change(path: string, of: string, changed: Properties, invalidated: readonly string[] = []): void {
    this.#set(path, of, changed);
    this.claim(path, of, changed, invalidated);
  }

  /** Says so, without it being so. */
  claim(path: string, of: string, changed: Properties, invalidated: readonly string[] = []): void {
    const body = [of, changed, [...invalidated]];
    this.signal(path, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', body);
  }

  /** Anything at all, for what bluetoothd would never say. */
  signal(path: string, of: string, member: string, signature: string, body: unknown[]): void {
    this.#bus?.send(Message.newSignal(path, of, member, signature, body));
  }

  #set(path: string, of: string, properties: Properties): void {
    const interfaces = this.#objects.get(path) ?? new Map<string, Properties>();
    this.#objects.set(path, interfaces);
    interfaces.set(of, { ...interfaces.get(of), ...properties });
  }

  /** A client that leaves the bus loses its discovery and its notify sessions; its links stay. */
  #hear({ member, body, sender }: Message): void {
    if (member !== 'NameOwnerChanged' || sender !== 'org.freedesktop.DBus' || body[2] !== '') return;
    const client = String(body[0]);
    if (this.discovering.delete(client) && this.discovering.size === 0) {
      this.change(this.adapterPath, 'org.bluez.Adapter1', { Discovering: new Variant('b', false) });
    }
    for (const clients of this.#notifying.values()) clients.delete(client);
  }

  #handle(message: Message): boolean {
    if (this.hung) return true;
    const { path, interface: of, member } = message;
    this.calls.push(`${of.split('.').at(-1)}.${member} ${path}`);
    const lamp = [...this.lamps.values()].find((one) => path === one.path || path.startsWith(`${one.path}/`));
    if (of === 'org.freedesktop.DBus.Introspectable') this.#introspect(message);
    else if (!this.#objects.has(path))
      this.#fail(message, 'org.freedesktop.DBus.Error.UnknownObject', 'Unknown object');
    else if (of === 'org.freedesktop.DBus.Properties' && member === 'GetAll') {
      const all = this.#objects.get(path)?.get(String(message.body[0]));
      if (all === undefined) this.#fail(message, 'org.freedesktop.DBus.Error.InvalidArgs', 'No such interface');
      else {
        this.#answer(message, 'a{sv}', [all]);
        const then = this.afterGetAll;
        this.afterGetAll = undefined;
        then?.();
      }
    } else if (of === 'org.bluez.Adapter1') this.#adapterMethod(message);
    else if (of === 'org.bluez.Device1' && lamp !== undefined) this.#deviceMethod(message, lamp);
    else if (of === 'org.bluez.GattCharacteristic1' && lamp !== undefined) this.#characteristicMethod(message, lamp);
    else this.#fail(message, 'org.freedesktop.DBus.Error.UnknownMethod', `no ${member}`);
    return true;
  }

  #introspect(message: Message): void {
    const below = `${message.path}/`;
    const names = [...this.#objects.keys()]
      .filter((path) => path.startsWith(below))
      .map((path) => path.slice(below.length).split('/')[0] ?? '');
    const nodes = [...new Set(names)].map((name) => `<node name="${name}"/>`);
    this.#answer(message, 's', [`<node><interface name="x"><method name="y"/></interface>${nodes.join('')}</node>`]);
  }

  #adapterMethod(message: Message): void {
    const { member, sender } = message;
    const powered = this.#objects.get(this.adapterPath)?.get('org.bluez.Adapter1')?.['Powered']?.value === true;
    if (!powered) {
      this.#fail(message, `${ERROR}NotReady`, 'Resource Not Ready');
      return;
    }
    if (member === 'SetDiscoveryFilter') {
      const given: Record<string, Variant> = message.body[0];
      this.filter = Object.fromEntries(Object.entries(given).map(([key, { value }]) => [key, value]));
      this.#answer(message);
      return;
    }
    if (member === 'StartDiscovery') {
      const refusal = this.refusesDiscovery;
      if (refusal !== undefined) {
        this.#fail(message, refusal.error, refusal.text);
        return;
      }
      if (this.discovering.has(sender)) {
        this.#fail(message, `${ERROR}InProgress`, 'Operation already in progress');
        return;
      }
      this.discovering.add(sender);
    } else if (!this.discovering.delete(sender)) {
      this.#fail(message, `${ERROR}Failed`, 'No discovery started');
      return;
    }
    this.change(this.adapterPath, 'org.bluez.Adapter1', { Discovering: new Variant('b', this.discovering.size > 0) });
    this.#answer(message);
  }

  #deviceMethod(message: Message, lamp: FakeLamp): void {
    if (message.member === 'Connect') {
      this.#connect(message, lamp);
      return;
    }
    if (message.member !== 'Disconnect') {
      this.#fail(message, 'org.freedesktop.DBus.Error.UnknownMethod', 'no such method');
      return;
    }
    for (const waiting of lamp.connecting.splice(0)) {
      this.#fail(waiting, `${ERROR}Failed`, 'le-connection-abort-by-local');
    }
    if (!lamp.connected) {
      this.#fail(message, `${ERROR}NotConnected`, 'Not Connected');
      return;
    }
    if (lamp.fault?.kind === 'clings') return;
    setTimeout(() => {
      this.drop(lamp);
      this.#answer(message);
    }, this.#options.disconnectMs ?? 50);
  }

  #connect(message: Message, lamp: FakeLamp): void {
    const { fault } = lamp;
    if (lamp.connecting.length > 0) {
      this.#fail(message, `${ERROR}InProgress`, 'Operation already in progress');
      return;
    }
    if (lamp.connected) {
      this.#answer(message);
      return;
    }
    if (fault?.kind === 'connect-fails') {
      this.#fail(message, fault.error, fault.text);
      return;
    }
    lamp.connecting.push(message);
    if (fault?.kind === 'out-of-range') return;
    const ms = this.#options.connectMs ?? 20;
    setTimeout(() => {
      if (lamp.connecting.length === 0) return;
      this.#connected(lamp);
      if (fault?.kind === 'never-resolves') return;
      setTimeout(() => {
        const asked = lamp.connecting.splice(0);
        if (fault?.kind === 'drops-early') {
          this.drop(lamp);
          for (const one of asked) this.#fail(one, `${ERROR}Failed`, 'le-connection-abort-by-remote');
          return;
        }
        if (!lamp.connected) return;
        this.#resolve(lamp);
        for (const one of asked) this.#answer(one);
      }, ms);
    }, ms);
  }

  #connected(lamp: FakeLamp): void {
    lamp.connected = true;
    this.#mostLinks = Math.max(this.#mostLinks, this.links);
    this.change(lamp.path, 'org.bluez.Device1', { Connected: new Variant('b', true) });
  }

  #resolve(lamp: FakeLamp): void {
    const mtu = 'mtu' in lamp.input ? lamp.input.mtu : 23;
    let handle = 0x0a;
    const next = (): string => (handle++).toString(16).padStart(4, '0');
    for (const service of lamp.input.services ?? GATT) {
      const path = `${lamp.path}/service${next()}`;
      this.add(path, 'org.bluez.GattService1', {
        UUID: new Variant('s', fullUuid(service.uuid)),
        Primary: new Variant('b', true),
      });
      for (const one of service.characteristics) {
        this.add(`${path}/char${next()}`, 'org.bluez.GattCharacteristic1', {
          UUID: new Variant('s', fullUuid(one.uuid)),
          Flags: new Variant('as', [...one.flags]),
          Value: new Variant('ay', Buffer.from(one.value ?? '', 'hex')),
          ...(mtu !== undefined ? { MTU: new Variant('q', mtu) } : {}),
        });
      }
    }
    this.change(lamp.path, 'org.bluez.Device1', { ServicesResolved: new Variant('b', true) });
  }

  #withoutGatt(lamp: FakeLamp): void {
    for (const path of [...this.#objects.keys()]) {
      if (!path.startsWith(`${lamp.path}/`)) continue;
      this.#notifying.delete(path);
      this.remove(path);
    }
  }

  #characteristic(lamp: FakeLamp, uuid: string): string {
    for (const [path, interfaces] of this.#objects) {
      const of = interfaces.get('org.bluez.GattCharacteristic1');
      if (path.startsWith(`${lamp.path}/`) && of?.['UUID']?.value === fullUuid(uuid)) return path;
    }
    throw new Error(`the lamp has no ${uuid}`);
  }

  characteristicPath(lamp: FakeLamp, uuid: string): string {
    return this.#characteristic(lamp, uuid);
  }

  #characteristicMethod(message: Message, lamp: FakeLamp): void {
    const { fault } = lamp;
    const { path, member, sender, body } = message;
    const of = this.#objects.get(path)?.get('org.bluez.GattCharacteristic1');
    if (fault?.kind === 'mute') return;
    if (!lamp.connected) {
      this.#fail(message, `${ERROR}Failed`, 'Not connected');
      return;
    }
    if (fault?.kind === 'refuses') {
      this.#fail(message, fault.error, fault.text);
      return;
    }
    if (member === 'ReadValue') {
      const value: Buffer = of?.['Value']?.value ?? Buffer.alloc(0);
      this.#value(path, value);
      this.#answer(message, 'ay', [value]);
      return;
    }
    if (member === 'WriteValue') {
      const { address } = lamp.input;
      const uuid = String(of?.['UUID']?.value ?? '').slice(4, 8);
      const type = String(body[1]?.['type']?.value ?? '');
      const answer = (): void => {
        this.written.push({ address, uuid, hex: Buffer.from(body[0]).toString('hex'), type });
        this.#answer(message);
      };
      if (lamp.writeMs > 0) setTimeout(answer, lamp.writeMs);
      else answer();
      return;
    }
    const clients = this.#notifying.get(path) ?? new Set<string>();
    this.#notifying.set(path, clients);
    if (member === 'StartNotify') {
      if (clients.has(sender)) {
        this.#fail(message, `${ERROR}Failed`, 'Already notifying');
        return;
      }
      clients.add(sender);
    } else {
      clients.delete(sender);
    }
    this.#answer(message);
  }

  #value(path: string, bytes: Buffer): void {
    this.change(path, 'org.bluez.GattCharacteristic1', { Value: new Variant('ay', bytes) });
  }

  #answer(message: Message, signature = '', body: unknown[] = []): void {
    this.#bus?.send(Message.newMethodReturn(message, signature, body));
  }

  #fail(message: Message, error: string, text: string): void {
    const reply = Message.newMethodReturn(message, 's', [text]);
    reply.type = MessageType.ERROR;
    reply.errorName = error;
    this.#bus?.send(reply);
  }
}
