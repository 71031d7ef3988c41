import { asPorchlightError, PorchlightError } from '../../errors.ts';
import { MOST_CHARACTERISTICS } from '../limits.ts';
import { canonicalUuid } from '../uuid.ts';
import type { AdapterLink, Value } from './adapter.ts';
import type { AttError } from './att-gate.ts';
import type { NobleCharacteristic, NoblePeripheral, NobleService } from './noble.ts';

/** noble has no deadline of its own; the specification's is 30 s, and no lamp that lives needs a sixth of it. */
const OPERATION_MS = 5000;
/** The next write without acknowledgement begins when no more than this many packets of the link wait in the controller. */
const MOST_IN_FLIGHT = 2;
/** How long a link that is given back waits for what the controller still has to send: several connection events of a slow lamp. */
const DRAIN_MS = 500;
/** noble hands its queue to the controller a moment after the last packet was sent. */
const DRAIN_POLL_MS = 5;
const DISCONNECT_MS = 1000;
/** The MTU before any is agreed on; its packets fit into every controller's buffers (Vol 3, Part A, 4; Vol 4, Part E, 4.1.1). */
const SMALLEST_MTU = 23;
/** Opcodes that the lamp's error answer names (Core specification, Vol 3, Part F, 3.4). */
const WRITE = [0x12];
const READ = [0x0a, 0x0c];
const FIND_AND_WRITE = [0x08, 0x12];
/** While services are discovered, an error is how the lamp says that there are no more. */
const NOTHING: readonly number[] = [];

/** Generic Attribute: two round trips at each connect, for a service that says nothing of a lamp. */
const GENERIC_ATTRIBUTE = '1801';

interface Found {
  readonly service: string;
  readonly uuid: string;
  readonly properties: readonly string[];
}

interface Operation {
  readonly fail: (thrown: unknown) => void;
  /** Requests whose error answer ends it. */
  readonly requests: readonly number[];
}

/**
 * One connected lamp, as noble has it. Operations run one after the other (noble mixes up two of a kind), each with a
 * deadline; one that passes its deadline costs the link, because noble would keep waiting for the answer before the next.
 */
export class NobleLink implements AdapterLink {
  readonly address: string;
  readonly number: number;
  #mtu = SMALLEST_MTU;
  #gone: PorchlightError | undefined;
  #operation: Operation | undefined;
  #onFlow: (() => void) | undefined;
  #inFlight = 0;
  /** How many packets may still be in the controller for `#onFlow` to be called. */
  #enough = 0;
  /** A value was written that may take several packets of a controller with small buffers. */
  #inPieces = false;
  #tail: Promise<unknown> = Promise.resolve();
  #characteristics: readonly NobleCharacteristic[] = [];
  readonly #peripheral: NoblePeripheral;
  readonly #onGone: (link: NobleLink, reason: PorchlightError) => void;

  constructor(
    number: number,
    address: string,
    peripheral: NoblePeripheral,
    onGone: (link: NobleLink, reason: PorchlightError) => void,
  ) {
    this.number = number;
    this.address = address;
    this.#peripheral = peripheral;
    this.#onGone = onGone;
    // A peripheral outlives its links: what an earlier one listened for must not be told to this one.
    peripheral.removeAllListeners('disconnect');
    peripheral.removeAllListeners('mtu');
    peripheral.once('disconnect', (reason: unknown) => this.lose(ended(reason)));
    peripheral.on('mtu', (mtu: unknown) => {
      if (typeof mtu === 'number') this.#mtu = mtu;
    });
  }

  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  /** All services, then each one's characteristics: noble's own "discover all" never ends where there are none. */
  async discover(deadlineMs: number): Promise<readonly Found[]> {
    const until = performance.now() + deadlineMs;
    const left = (): number => until - performance.now();
    const services = await this.#ask<readonly NobleService[]>(left(), NOTHING, (done, fail) =>
      this.#peripheral.discoverServices([], (error, list) => (list === undefined ? fail(error) : done(list))),
    );
    const found: { readonly raw: NobleCharacteristic; readonly as: Found }[] = [];
    for (const service of services) {
      const uuid = canonicalUuid(service.uuid);
      if (uuid === GENERIC_ATTRIBUTE) continue;
      const raws = await this.#ask<readonly NobleCharacteristic[]>(left(), NOTHING, (done, fail) =>
        service.discoverCharacteristics([], (error, list) => (list === undefined ? fail(error) : done(list))),
      );
      for (const raw of raws) {
        found.push({ raw, as: { service: uuid, uuid: canonicalUuid(raw.uuid), properties: raw.properties } });
      }
      if (found.length > MOST_CHARACTERISTICS) break;
    }
    const kept = found.slice(0, MOST_CHARACTERISTICS);
    this.#characteristics = kept.map(({ raw }) => raw);
    return kept.map(({ as }) => as);
  }

  /**
   * Writes the values in order. Resolves when the lamp has acknowledged the last, or, for a write without acknowledgement, when
   * the controller has sent it: before that it may still be lost with the link.
   */
  write(...values: readonly Value[]): Promise<void> {
    return this.#inTurn(async () => {
      const writes = values.map(({ at, bytes, kind }) => {
        const characteristic = this.#at(at);
        if (bytes.length > this.#mtu - 3) {
          throw new PorchlightError('unsupported', `A write of ${bytes.length} bytes is too long for the lamp's link.`);
        }
        return { characteristic, bytes, unanswered: isWrittenWithoutResponse(characteristic.properties, kind) };
      });
      for (const [index, { characteristic, bytes, unanswered }] of writes.entries()) {
        if (unanswered)
          await this.#writeUnanswered(characteristic, bytes, index === writes.length - 1 ? 0 : MOST_IN_FLIGHT);
        else {
          await this.#ask<void>(OPERATION_MS, WRITE, (done, fail) =>
            characteristic.write(bytes, false, (error) => (error === undefined ? done() : fail(error))),
          );
        }
      }
    });
  }

  /** noble calls back at once for a write that nobody acknowledges; the controller's word on what it has sent paces it instead. */
  async #writeUnanswered(characteristic: NobleCharacteristic, bytes: Buffer, inFlight: number): Promise<void> {
    await this.#ask<void>(OPERATION_MS, NOTHING, (done) => {
      this.#enough = inFlight;
      this.#inPieces ||= bytes.length > SMALLEST_MTU - 3;
      this.#onFlow = done;
      characteristic.write(bytes, true, () => undefined);
    });
  }

  read(at: number): Promise<Buffer> {
    return this.#inTurn(() =>
      this.#ask<Buffer>(OPERATION_MS, READ, (done, fail) =>
        this.#at(at).read((error, bytes) => (bytes === undefined ? fail(error) : done(bytes))),
      ),
    );
  }

  subscribe(at: number, onValue: (bytes: Buffer) => void): Promise<void> {
    return this.#inTurn(async () => {
      const characteristic = this.#at(at);
      characteristic.removeAllListeners('data');
      characteristic.on('data', (bytes: unknown, isNotification: unknown) => {
        if (isNotification === true && Buffer.isBuffer(bytes)) onValue(bytes);
      });
      await this.#ask<void>(OPERATION_MS, FIND_AND_WRITE, (done, fail) =>
        characteristic.subscribe((error) => (error === undefined || error === null ? done() : fail(error))),
      );
    });
  }

  /** Resolves when the link is gone, or after a second of waiting for it. */
  async disconnect(): Promise<void> {
    const until = performance.now() + DISCONNECT_MS;
    await this.#drain();
    if (this.#gone !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, until - performance.now());
      this.#peripheral.once('disconnect', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#drop();
    });
    this.lose('the link was given up');
  }

  /** Gives the link up for a reason; the controller is told once, and only while noble takes it for connected. */
  abandon(reason: string, code: 'link_lost' | 'timed_out' = 'link_lost'): void {
    if (this.#gone !== undefined) return;
    this.#drop();
    this.lose(reason, code);
  }

  lose(reason: string, code: 'link_lost' | 'timed_out' = 'link_lost'): void {
    if (this.#gone !== undefined) return;
    this.#gone = new PorchlightError(code, `The connection to the lamp broke: ${reason}.`);
    this.#operation?.fail(this.#gone);
    for (const characteristic of this.#characteristics) characteristic.removeAllListeners();
    this.#onGone(this, this.#gone);
  }

  /** An error answer of the lamp; noble itself never tells of one. */
  refuse(error: AttError): void {
    if (this.#operation?.requests.includes(error.request) !== true) return;
    if (error.needsPairing) {
      const hint =
        'Lamps that must be paired need "bluetooth.backend: dbus", and "bluetoothctl pair" once; or this is another model.';
      this.#operation.fail(new PorchlightError('refused_by_light', 'The lamp asks to be paired.', { hint }));
      return;
    }
    const what = `The lamp refused the command (ATT error 0x${error.code.toString(16).padStart(2, '0')}).`;
    this.#operation.fail(new PorchlightError('refused_by_light', what));
  }

  flow(inFlight: number): void {
    this.#inFlight = inFlight;
    if (inFlight <= this.#enough) this.#onFlow?.();
  }

  #at(at: number): NobleCharacteristic {
    const characteristic = this.#characteristics[at];
    if (characteristic === undefined) throw new PorchlightError('unsupported', 'The lamp has no such characteristic.');
    return characteristic;
  }

  /** A write without acknowledgement may still wait in the controller, which forgets it when it ends the link. */
  async #drain(): Promise<void> {
    // Each write has waited for its last packet already; only one in several packets may have more in noble's queue.
    if (this.#operation === undefined && this.#inFlight === 0 && !this.#inPieces) return;
    const until = performance.now() + DRAIN_MS;
    do {
      if (this.#gone !== undefined) return;
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    } while (this.#inFlight > 0 && performance.now() < until);
  }

  #drop(): void {
    if (this.#peripheral.state === 'connected') this.#peripheral.disconnect();
  }

  async #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    const mine = before.then(run, run);
    this.#tail = mine.catch(() => undefined);
    return mine;
  }

  #ask<T>(
    deadlineMs: number,
    requests: readonly number[],
    start: (done: (value: T) => void, fail: (thrown: unknown) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#gone !== undefined) return reject(this.#gone);
      const ends = (): boolean => {
        if (this.#operation !== operation) return false;
        this.#operation = undefined;
        this.#onFlow = undefined;
        clearTimeout(timer);
        return true;
      };
      const fail = (thrown: unknown): void => {
        if (ends()) reject(asPorchlightError(thrown, 'link_lost', describe(thrown)));
      };
      const operation: Operation = { fail, requests };
      const timer = setTimeout(() => this.abandon('it did not answer in time', 'timed_out'), Math.max(1, deadlineMs));
      this.#operation = operation;
      try {
        start((value) => ends() && resolve(value), fail);
      } catch (thrown) {
        // noble throws where its books and ours differ: a dead characteristic, a handle that it forgot.
        fail(thrown);
        this.abandon('its characteristics are not what they were');
      }
    });
  }
}

/** What the characteristic allows decides; the frame's own wish only where it allows both. */
function isWrittenWithoutResponse(properties: readonly string[], kind: 'request' | 'command'): boolean {
  const acknowledged = properties.includes('write');
  const plain = properties.includes('writeWithoutResponse');
  return acknowledged === plain ? kind === 'command' : plain;
}

/** Why a link has ended, in words (Core specification, Vol 1, Part F). noble gives a number, or a word of its own. */
function ended(reason: unknown): string {
  switch (reason) {
    case 0x08:
    case 0x22:
      return 'it was not heard any more';
    case 0x13:
    case 0x14:
    case 0x15:
      return 'the lamp ended it';
    case 0x16:
      return 'the gateway ended it';
    case 0x3e:
      return 'it was never really established';
    default:
      return typeof reason === 'number' ? `reason 0x${reason.toString(16).padStart(2, '0')}` : describe(reason);
  }
}

/** noble rejects with errors, strings and numbers. */
function describe(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message.slice(0, 120);
  return typeof thrown === 'string' || typeof thrown === 'number' ? String(thrown).slice(0, 120) : 'unknown reason';
}
