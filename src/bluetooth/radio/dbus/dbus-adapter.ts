import { PorchlightError } from '../../../errors.ts';
import type { Pulse } from '../../central.ts';
import type { RadioBackend } from '../../messages.ts';
import type { Adapter, AdapterEvents, ConnectRequest, Linked } from '../adapter.ts';
import type { Report } from '../adverts.ts';
import { Directory } from '../directory.ts';
import { Bluetoothd, type Power } from './bluetoothd.ts';
import { DEVICE, devicePath } from './bluez.ts';
import { Broadcasts, isAdvertised } from './broadcasts.ts';
import { type Connected, DbusConnects } from './dbus-connects.ts';
import { DbusLink } from './dbus-link.ts';
import { Discovery, SILENCE_MS } from './discovery.ts';
import { Leaving } from './leaving.ts';

/** How often bus, bluetoothd and adapter are looked for, or looked at. */
const LOOK_MS = 1000;
/** At its usual connection interval bluetoothd needs some seconds to discover a lamp that it meets for the first time. */
const DISCOVER_MS = 6000;
/** Links that an earlier life of the radio left behind are taken up again within this time, or let go. */
const LEFT_BEHIND_MS = 5000;

/** What is made anew for each process life, once it is known which adapter is driven. */
interface Parts {
  readonly bluetoothd: Bluetoothd;
  readonly leaving: Leaving;
  readonly connects: DbusConnects;
  readonly discovery: Discovery;
  readonly broadcasts: Broadcasts;
}

/**
 * One adapter through bluetoothd: no capability, no raw socket, and packets are parsed elsewhere. bluetoothd may go and come
 * back: its links are then lost, and all is begun again in this process; only a lost bus ends it.
 */
export class DbusAdapter implements Adapter {
  readonly #events: AdapterEvents;
  readonly #directory = new Directory(() => performance.now());
  readonly #links = new Map<number, DbusLink>();
  readonly #byAddress = new Map<string, DbusLink>();
  #parts: Parts | undefined;
  #nextLink = 1;
  #state: Power | undefined;
  #wantsScan = false;
  #only: readonly string[] | undefined = [];
  #patienceMs = SILENCE_MS;
  #looksLeft = true;
  /** Paths of lamps that an earlier life left connected, by address, until they are asked for. */
  #left = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #noted = 0;

  constructor(events: AdapterEvents) {
    this.#events = events;
  }

  async start(backend: RadioBackend): Promise<void> {
    if (backend.kind !== 'dbus' || !/^hci\d{1,3}$/.test(backend.adapter)) {
      throw new PorchlightError('adapter_off', 'This is no adapter of bluetoothd.');
    }
    const parts = this.#make(backend.adapter);
    this.#parts = parts;
    parts.broadcasts.listenFor(this.#only === undefined ? undefined : new Set(this.#only));
    await parts.bluetoothd.look(backend.bus);
    this.#timer = setInterval(() => {
      void parts.bluetoothd.look(backend.bus);
      parts.discovery.tend();
    }, LOOK_MS);
  }

  #make(adapter: string): Parts {
    const bluetoothd = new Bluetoothd(adapter, {
      onPower: (power, why) => this.#changeState(power, why),
      onDevice: (address, changed, dropped, added) => {
        if (isAdvertised(changed)) this.#parts?.discovery.onReport();
        this.#parts?.broadcasts.take(address, changed, dropped, added);
      },
      onDiscovering: (on) => this.#parts?.discovery.onDiscovering(on),
      onBusLost: (reason) => this.#events.fatal(`the system bus went away: ${reason}`, 'adapter_off'),
    });
    const leaving = new Leaving(bluetoothd);
    return {
      bluetoothd,
      leaving,
      connects: new DbusConnects(bluetoothd, leaving, () => this.#tendScan()),
      // Whoever is connected would lose the lamp for a scan.
      discovery: new Discovery(bluetoothd, (reason) => {
        this.note(reason);
        if (this.#links.size === 0) this.#events.fatal(reason, 'adapter_stuck');
      }),
      broadcasts: new Broadcasts(
        (address) => bluetoothd.properties(devicePath(adapter, address), DEVICE),
        (report) => this.#hear(report),
      ),
    };
  }

  listen(on: boolean, only: readonly string[] | undefined, silenceMs: number | undefined): void {
    const addresses = only === undefined ? undefined : new Set(only);
    this.#only = only;
    this.#directory.listenFor(addresses);
    this.#parts?.broadcasts.listenFor(addresses);
    this.#patienceMs = silenceMs ?? SILENCE_MS;
    this.#wantsScan = on;
    this.#tendScan();
  }

  async connect(address: string, { timeoutMs, signal, onConnected }: ConnectRequest): Promise<Linked> {
    const until = performance.now() + timeoutMs;
    const connects = this.#parts?.connects;
    if (connects === undefined || this.#state !== 'poweredOn') throw new PorchlightError('adapter_off');
    if (this.#byAddress.has(address)) throw new PorchlightError('connect_failed', 'The lamp is already connected.');
    const link = await connects.connect(address, until, signal, (connected) => {
      onConnected();
      return this.#adopt(address, connected);
    });
    try {
      const found = await link.discover(Math.max(until - performance.now(), DISCOVER_MS));
      const characteristics = found.map(({ service, uuid, properties }) => ({
        service,
        uuid,
        properties: [...properties],
      }));
      return { link: link.number, characteristics };
    } catch (thrown) {
      link.abandon('its characteristics could not be read');
      throw thrown;
    }
  }

  #adopt(address: string, { path, known, foreign }: Connected): DbusLink {
    const { bluetoothd, leaving } = this.#inUse();
    const number = this.#nextLink;
    this.#nextLink += 1;
    if (foreign) this.note(`${address} was connected by another program already, and stays so`);
    const onGone = (link: DbusLink, reason: PorchlightError): void => this.#forget(link, reason);
    const link = DbusLink.begin({ number, address, path, bluetoothd, leaving, foreign, onGone }, known);
    this.#left.delete(address);
    this.#links.set(number, link);
    this.#byAddress.set(address, link);
    return link;
  }

  link(number: number): DbusLink {
    const link = this.#links.get(number);
    if (link === undefined) throw new PorchlightError('link_lost');
    return link;
  }

  tend(): void {
    this.#tendScan();
  }

  pulse(): Omit<Pulse, 'rss'> {
    return this.#parts?.discovery.pulse() ?? { rescans: 0 };
  }

  /** Lets every lamp go. bluetoothd takes two seconds for it, and does it also when nobody waits for the end. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#wantsScan = false;
    await Promise.all([...this.#links.values()].map((link) => link.disconnect()));
    this.#parts?.bluetoothd.close();
  }

  /** For the gateway's log, at most a hundred a minute of process life. */
  note(text: string): void {
    this.#noted += 1;
    if (this.#noted <= 20 + performance.now() / 600) this.#events.tell({ is: 'note', text: text.slice(0, 200) });
  }

  #inUse(): Parts {
    if (this.#parts === undefined) throw new PorchlightError('radio_restarting');
    return this.#parts;
  }

  #hear(report: Report): void {
    const told = this.#directory.hear(report);
    if (told === undefined) return;
    const { serviceUuids, serviceData, ...rest } = told;
    this.#events.tell({
      is: 'heard',
      ...rest,
      serviceUuids: [...serviceUuids],
      ...(serviceData !== undefined ? { serviceData: serviceData.map(([uuid, hex]) => [uuid, hex]) } : {}),
    });
  }

  /** `why` in words, where it is not on: it may change while the state stays. */
  #changeState(state: Power, why: string): void {
    if (why !== '') this.note(why);
    if (state !== 'poweredOn') {
      for (const link of [...this.#links.values()]) link.lose(why);
      this.#parts?.connects.giveUp(new PorchlightError('adapter_off'));
      this.#parts?.discovery.forget();
      this.#parts?.broadcasts.forget();
    }
    if (state === this.#state) return;
    this.#state = state;
    this.#events.tell({ is: 'adapter', state });
    if (state !== 'poweredOn') return;
    this.#tendScan();
    if (this.#looksLeft) void this.#takeUpLeft();
    this.#looksLeft = false;
  }

  /** bluetoothd keeps the links of a client that died; ours are those to the lamps that we drive. */
  async #takeUpLeft(): Promise<void> {
    const { bluetoothd, connects, leaving } = this.#inUse();
    const paths = new Map((this.#only ?? []).map((address) => [address, devicePath(bluetoothd.adapter, address)]));
    this.#left = paths;
    // At once, for the gateway may ask for one before it is known whether it is connected.
    for (const path of paths.values()) connects.claim(path, true);
    await Promise.all(
      [...paths].map(async ([address, path]) => {
        const known = await bluetoothd.properties(path, DEVICE).catch(() => undefined);
        if (known?.get('Connected') === true) return;
        connects.claim(path, false);
        paths.delete(address);
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, LEFT_BEHIND_MS));
    for (const [address, path] of paths) {
      this.note(`${address} was still connected from an earlier run, and is let go`);
      await leaving.leave(path);
    }
  }

  #forget(link: DbusLink, reason: PorchlightError): void {
    this.#links.delete(link.number);
    if (this.#byAddress.get(link.address) === link) this.#byAddress.delete(link.address);
    this.#events.tell({ is: 'gone', link: link.number, reason: reason.message.slice(0, 200) });
  }

  /**
   * While a connection is made there is no discovery: most controllers report each device once in a scan, and the kernel begins the
   * connection with the next report, so it would wait for the next of the scans of ten seconds.
   */
  #tendScan(): void {
    if (this.#parts === undefined) return;
    const { connects, discovery } = this.#parts;
    discovery.patienceMs = this.#patienceMs;
    discovery.want(connects.listening || (this.#wantsScan && !connects.busy));
  }
}
