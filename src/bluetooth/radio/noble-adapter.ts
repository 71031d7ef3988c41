import { PorchlightError } from '../../errors.ts';
import type { Pulse } from '../central.ts';
import type { RadioBackend } from '../messages.ts';
import type { Adapter, AdapterEvents, ConnectRequest, Linked } from './adapter.ts';
import { ConnectTurns } from './connect-turns.ts';
import { Directory } from './directory.ts';
import { airCode, textOf } from './failures.ts';
import { H4Socket } from './h4-socket.ts';
import { type GuardEvents, HciGuard } from './hci-guard.ts';
import type { HciTransport } from './hci-transport.ts';
import { type Noble, type NoblePeripheral, nativeTransport, nobleOver } from './noble.ts';
import { NobleLink } from './noble-link.ts';
import { probe } from './probe.ts';
import { Scan } from './scan.ts';

/** How long an adapter may be unusable, or say nothing, before a fresh process looks at it anew. */
const UNUSABLE_MS = 30_000;

/** An adapter that is up, and that noble still takes for off after this long, it will not notice any more. */
const BACK_MS = 3000;

/** An address that was never heard gets this long to be heard: its type could only be guessed, and a wrong guess costs an attempt. */
const HEAR_MS = 1500;
const HEAR_POLL_MS = 10;

/** How often a controller that is not there is looked for. */
const REOPEN_MS = 1000;

const STATES = ['unknown', 'resetting', 'unsupported', 'unauthorized', 'poweredOff', 'poweredOn'] as const;
type State = (typeof STATES)[number];

/**
 * One Bluetooth adapter, driven by noble, with noble's habits absorbed: every call ends, one connection is made at a time,
 * the scan comes back after each, and a controller that went away ends the process rather than being trusted again.
 */
export class NobleAdapter implements Adapter {
  readonly #events: AdapterEvents;
  readonly #directory = new Directory(() => performance.now());
  readonly #links = new Map<number, NobleLink>();
  readonly #byAddress = new Map<string, NobleLink>();
  #nextLink = 1;
  #state: State = 'unknown';
  #stateAt = performance.now();
  #wasOn = false;
  #noble: Noble | undefined;
  #isUp = (): boolean => false;
  #connects: ConnectTurns | undefined;
  #scan: Scan | undefined;
  #wantsScan = false;
  #silenceMs: number | undefined;
  #noted = 0;

  constructor(events: AdapterEvents) {
    this.#events = events;
  }

  /** Finds the controller (waiting for one that speaks H4 until it is there) and starts noble on it. */
  async start(backend: RadioBackend): Promise<void> {
    if (backend.kind === 'h4') {
      const socket = await this.#openH4(backend.address);
      const { extended } = await probe(socket);
      this.#run(socket, { userChannel: true, extended });
    } else if (backend.kind === 'hci') {
      const deviceId = Number(/^hci(\d{1,3})$/.exec(backend.adapter)?.[1] ?? Number.NaN);
      if (Number.isNaN(deviceId)) throw new PorchlightError('adapter_off', `"${backend.adapter}" is not an adapter.`);
      // A bound socket may take its adapter for down for ever once it was; one that is not bound sees it come back.
      const watch = nativeTransport();
      this.#isUp = () => watch.getDeviceList().some((device) => device.devId === deviceId && device.devUp === true);
      await this.#plugged(() => watch.getDeviceList().some((device) => device.devId === deviceId), backend.adapter);
      this.#run(nativeTransport(), { userChannel: false, deviceId });
    }
  }

  /** An adapter that is not plugged in is looked for; noble would be thrown out of its first call. */
  async #plugged(isThere: () => boolean, name: string): Promise<void> {
    while (!isThere()) {
      this.#changeState('poweredOff');
      this.note(`there is no adapter ${name}`);
      await new Promise((resolve) => setTimeout(resolve, REOPEN_MS));
    }
  }

  async #openH4(address: string): Promise<H4Socket> {
    for (;;) {
      const socket = new H4Socket(address);
      let lost = (): void => undefined;
      let why: unknown = new PorchlightError('adapter_off', 'the controller closed its connection');
      socket.on('error', (thrown) => {
        why = thrown;
        this.note(`the controller's stream: ${textOf(why)}`);
      });
      socket.on('state', (up) => (up ? undefined : lost()));
      try {
        await socket.open();
        lost = () => this.#lose(why);
        return socket;
      } catch (thrown) {
        this.#changeState('poweredOff');
        this.note(textOf(thrown));
        await new Promise((resolve) => setTimeout(resolve, REOPEN_MS));
      }
    }
  }

  /** The stream to the controller has ended: because it was closed, or by us because nobody answered. */
  #lose(why: unknown): void {
    const stuck = airCode(why) === 'adapter_stuck';
    this.#changeState(stuck ? 'resetting' : 'poweredOff');
    this.#events.fatal(textOf(why), stuck ? 'adapter_stuck' : 'adapter_off');
  }

  #run(transport: HciTransport, options: Readonly<Record<string, unknown>>): void {
    const guard = new HciGuard(transport, this.#guardEvents());
    guard.on('error', (thrown) => this.note(`the controller: ${textOf(thrown)}`));
    const noble = nobleOver(guard, options);
    this.#noble = noble;
    const stuck = (reason: string): void => this.#events.fatal(reason, 'adapter_stuck');
    this.#scan = new Scan(noble, stuck);
    if (this.#silenceMs !== undefined) this.#scan.patienceMs = this.#silenceMs;
    this.#connects = new ConnectTurns(noble, guard, this.#directory, stuck);
    noble.on('stateChange', (state: unknown) =>
      this.#changeState(STATES.find((known) => known === state) ?? 'unknown'),
    );
  }

  listen(on: boolean, only: readonly string[] | undefined, silenceMs: number | undefined): void {
    this.#silenceMs = silenceMs;
    if (this.#scan !== undefined && silenceMs !== undefined) this.#scan.patienceMs = silenceMs;
    this.#directory.listenFor(only === undefined ? undefined : new Set(only));
    this.#wantsScan = on;
    this.#tendScan();
  }

  /** Connects and discovers within `timeoutMs`. */
  async connect(address: string, { timeoutMs, signal, onConnected }: ConnectRequest): Promise<Linked> {
    const until = performance.now() + timeoutMs;
    const connects = this.#connects;
    if (connects === undefined || this.#state !== 'poweredOn') throw new PorchlightError('adapter_off');
    if (this.#byAddress.has(address)) throw new PorchlightError('connect_failed', 'The lamp is already connected.');
    let link: NobleLink | undefined;
    const giveUp = (): void => link?.abandon('nobody waits for it any more');
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      await this.#hear(address, performance.now() + Math.min(HEAR_MS, timeoutMs / 3), signal);
      link = await connects.connect(address, until, signal, (peripheral) => {
        onConnected();
        return this.#adopt(address, peripheral);
      });
      // Once connected, the lamp gets time to name its characteristics even where connecting took most of it.
      const characteristics = await link.discover(Math.max(until - performance.now(), 3000));
      return {
        link: link.number,
        characteristics: [...characteristics].map((c) => ({ ...c, properties: [...c.properties] })),
      };
    } catch (thrown) {
      link?.abandon('its characteristics could not be read');
      throw thrown;
    } finally {
      signal.removeEventListener('abort', giveUp);
      this.#tendScan();
    }
  }

  /** While nobody else connects, which stops the scan. */
  async #hear(address: string, until: number, signal: AbortSignal): Promise<void> {
    const waits = (): boolean => this.#wantsScan && this.#connects?.busy === false && !signal.aborted;
    while (this.#directory.find(address) === undefined && waits() && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, HEAR_POLL_MS));
    }
  }

  #adopt(address: string, peripheral: NoblePeripheral): NobleLink {
    const link = new NobleLink(this.#nextLink, address, peripheral, (gone, reason) => this.#forget(gone, reason));
    this.#nextLink += 1;
    this.#links.set(link.number, link);
    this.#byAddress.set(address, link);
    return link;
  }

  /** The link of that number, or `link_lost`. */
  link(number: number): NobleLink {
    const link = this.#links.get(number);
    if (link === undefined) throw new PorchlightError('link_lost');
    return link;
  }

  /** Lets every lamp go, so that a phone can have it, then the adapter. Within about a second. */
  async stop(): Promise<void> {
    this.#wantsScan = false;
    await Promise.all([...this.#links.values()].map((link) => link.disconnect()));
    this.#noble?.stop();
  }

  /** For the gateway's log, at most a hundred a minute of process life. */
  note(text: string): void {
    this.#noted += 1;
    if (this.#noted <= 20 + performance.now() / 600) this.#events.tell({ is: 'note', text: text.slice(0, 200) });
  }

  #guardEvents(): GuardEvents {
    return {
      onReport: (report) => {
        this.#scan?.onReport(performance.now());
        const told = this.#directory.hear(report);
        if (told === undefined) return;
        const { serviceUuids, serviceData, ...rest } = told;
        this.#events.tell({
          is: 'heard',
          ...rest,
          serviceUuids: [...serviceUuids],
          ...(serviceData !== undefined ? { serviceData: serviceData.map(([uuid, hex]) => [uuid, hex]) } : {}),
        });
      },
      onConnection: (address, status) => this.#connects?.onConnection(address, status),
      onScanEnabled: (status) => this.#scan?.onEnabled(status),
      onAttError: (address, error) => this.#byAddress.get(address)?.refuse(error),
      onFlow: (address, inFlight) => this.#byAddress.get(address)?.flow(inFlight),
      onBroken: (address, reason) => {
        this.note(`the lamp ${address} sent ${reason}`);
        this.#byAddress.get(address)?.abandon(`it sent ${reason}`);
      },
      onForeignReset: () => {
        if (this.#state === 'poweredOn') this.#events.fatal('the adapter was reset by another program');
      },
      onFatal: (reason) => this.#events.fatal(reason),
    };
  }

  /** Called every few seconds. */
  tend(): void {
    const now = performance.now();
    this.#tendScan();
    this.#scan?.check(now);
    if (this.#noble === undefined || this.#state === 'poweredOn') return;
    const lasts = now - this.#stateAt;
    if (this.#state !== 'poweredOff') {
      // Who may not use it, or cannot, is not helped by plugging; who hears nothing of it at all perhaps is.
      const silent = this.#state === 'unknown' || this.#state === 'resetting';
      const code = silent ? 'adapter_stuck' : 'adapter_off';
      if (lasts > UNUSABLE_MS) this.#events.fatal(`the adapter stayed ${this.#state}`, code);
    } else if (lasts > BACK_MS && this.#isUp()) {
      this.#events.fatal('the adapter came back');
    }
  }

  pulse(): Omit<Pulse, 'rss'> {
    return this.#scan?.pulse(performance.now()) ?? { rescans: 0 };
  }

  #changeState(state: State): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#stateAt = performance.now();
    this.#events.tell({ is: 'adapter', state });
    if (state === 'poweredOn') {
      // After bluetoothd has switched an adapter off and on, only a fresh process can scan.
      if (this.#wasOn) {
        this.#events.fatal('the adapter came back');
        return;
      }
      this.#wasOn = true;
      this.#tendScan();
    } else {
      for (const link of [...this.#links.values()]) link.lose('the adapter went off');
      this.#connects?.giveUp(new PorchlightError('adapter_off'));
    }
  }

  #forget(link: NobleLink, reason: PorchlightError): void {
    this.#links.delete(link.number);
    if (this.#byAddress.get(link.address) === link) this.#byAddress.delete(link.address);
    this.#events.tell({ is: 'gone', link: link.number, reason: reason.message.slice(0, 200) });
  }

  /** noble stops the scan for each connection that it makes, and does not start it again. */
  #tendScan(): void {
    if (this.#state === 'poweredOn') this.#scan?.want(this.#wantsScan && this.#connects?.busy !== true);
  }
}
