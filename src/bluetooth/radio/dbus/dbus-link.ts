import { Variant } from '@particle/dbus-next';
import { PorchlightError } from '../../../errors.ts';
import { LONGEST_VALUE } from '../../limits.ts';
import type { AdapterLink, Value } from '../adapter.ts';
import type { Bluetoothd } from './bluetoothd.ts';
import { CHARACTERISTIC, DEVICE } from './bluez.ts';
import { isBluez, isSilence, operationFailure } from './failures.ts';
import { characteristicsOf, type Found, mtuOf } from './gatt.ts';
import type { Leaving } from './leaving.ts';
import type { Properties } from './values.ts';

/** The specification's deadline is 30 s, and no lamp that lives needs a sixth of it. */
const OPERATION_MS = 5000;
/** Another program has an operation of its own on the characteristic. */
const BUSY_MS = 50;
const DISCONNECT_MS = 1000;

export interface LinkParts {
  readonly number: number;
  readonly address: string;
  readonly path: string;
  readonly bluetoothd: Bluetoothd;
  readonly leaving: Leaving;
  /** Connected by another program: used, and left as it was. */
  readonly foreign: boolean;
  readonly onGone: (link: DbusLink, reason: PorchlightError) => void;
}

/** One connected lamp, as bluetoothd has it. Operations run one after the other, each with a deadline that costs the link. */
export class DbusLink implements AdapterLink {
  readonly #parts: LinkParts;
  readonly #unwatch: (() => void)[] = [];
  readonly #listeners = new Map<string, (bytes: Buffer) => void>();
  #found: readonly Found[] = [];
  #gone: PorchlightError | undefined;
  #onGone: ((reason: PorchlightError) => void) | undefined;
  #onResolved: (() => void) | undefined;
  #resolved: boolean;
  /** While a value is read, bluetoothd says it as if the lamp had sent it. */
  #reading: { readonly path: string; readonly said: Buffer[] } | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(parts: LinkParts, resolved: boolean) {
    this.#parts = parts;
    this.#resolved = resolved;
  }

  /** Called in the very moment of the connection: its end may be the next thing that is said. `known`: of the device. */
  static begin(parts: LinkParts, known: Properties): DbusLink {
    const link = new DbusLink(parts, known.get('ServicesResolved') === true);
    link.#watch(parts.path, {
      onChanged: (of, changed) => {
        if (of !== DEVICE) return;
        if (changed.get('Connected') === false) link.lose("the lamp's link ended");
        const resolved = changed.get('ServicesResolved');
        if (typeof resolved === 'boolean') link.#resolved = resolved;
        if (resolved === true) link.#onResolved?.();
      },
      onRemoved: () => link.lose('bluetoothd forgot the lamp'),
    });
    return link;
  }

  get number(): number {
    return this.#parts.number;
  }

  get address(): string {
    return this.#parts.address;
  }

  /** The characteristics, once bluetoothd has discovered them. */
  async discover(deadlineMs: number): Promise<readonly Found[]> {
    const { bluetoothd, path } = this.#parts;
    await this.#unlessGone(deadlineMs, async () => {
      // What was said before we listened.
      const known = await bluetoothd.properties(path, DEVICE);
      if (known.get('ServicesResolved') !== true && !this.#resolved) {
        await new Promise<void>((resolve) => {
          this.#onResolved = resolve;
        });
      }
      this.#found = await characteristicsOf(bluetoothd, path);
    });
    for (const found of this.#found) this.#watchCharacteristic(found);
    return this.#found;
  }

  /**
   * Writes the values in order. Resolves when the lamp has acknowledged the last; for one without acknowledgement, when bluetoothd has
   * taken it: what the controller does with it, it does not say.
   */
  write(...values: readonly Value[]): Promise<void> {
    return this.#inTurn(async () => {
      const writes = values.map(({ at, bytes, kind }) => {
        const found = this.#at(at);
        if (found.mtu !== undefined && bytes.length > found.mtu - 3) {
          throw new PorchlightError('unsupported', `A write of ${bytes.length} bytes is too long for the lamp's link.`);
        }
        return { found, bytes, type: writtenAs(found.properties, kind) };
      });
      for (const { found, bytes, type } of writes) {
        await this.#ask(found, 'WriteValue', 'aya{sv}', [bytes, { type: new Variant('s', type) }]);
      }
    });
  }

  read(at: number): Promise<Buffer> {
    return this.#inTurn(async () => {
      const found = this.#at(at);
      const reading = { path: found.path, said: [] as Buffer[] };
      this.#reading = reading;
      try {
        const [value] = await this.#ask(found, 'ReadValue', 'a{sv}', [{}]);
        if (!Buffer.isBuffer(value) || value.length > LONGEST_VALUE) {
          throw new PorchlightError('refused_by_light', 'The lamp answered with what is no value.');
        }
        const echo = reading.said.findIndex((one) => one.equals(value));
        if (echo >= 0) reading.said.splice(echo, 1);
        return Buffer.from(value);
      } finally {
        this.#reading = undefined;
        for (const bytes of reading.said) this.#listeners.get(found.path)?.(bytes);
      }
    });
  }

  subscribe(at: number, onValue: (bytes: Buffer) => void): Promise<void> {
    return this.#inTurn(async () => {
      const found = this.#at(at);
      this.#listeners.set(found.path, onValue);
      await this.#ask(found, 'StartNotify', '', []);
    });
  }

  /** Resolves when the link is gone, or after a second of waiting for it: bluetoothd takes two. */
  async disconnect(): Promise<void> {
    if (this.#gone !== undefined) return;
    const { foreign, leaving, path } = this.#parts;
    await Promise.race([foreign ? this.#unsubscribe() : leaving.leave(path), pause(DISCONNECT_MS)]);
    this.lose('the link was given up');
  }

  /** Gives the link up for a reason. */
  abandon(reason: string, code: 'link_lost' | 'timed_out' = 'link_lost'): void {
    if (this.#gone !== undefined) return;
    const { foreign, leaving, path } = this.#parts;
    if (!foreign) void leaving.leave(path);
    this.lose(reason, code);
  }

  lose(reason: string, code: 'link_lost' | 'timed_out' = 'link_lost'): void {
    if (this.#gone !== undefined) return;
    this.#gone = new PorchlightError(code, `The connection to the lamp broke: ${reason}.`);
    for (const unwatch of this.#unwatch) unwatch();
    this.#listeners.clear();
    this.#onGone?.(this.#gone);
    this.#parts.onGone(this, this.#gone);
  }

  /** Of a link that stays: what the lamp sends is no business of ours any more. */
  async #unsubscribe(): Promise<void> {
    const paths = [...this.#listeners.keys()];
    await Promise.allSettled(paths.map((path) => this.#parts.bluetoothd.call(path, CHARACTERISTIC, 'StopNotify')));
  }

  #watch(path: string, watcher: Parameters<Bluetoothd['watch']>[1]): void {
    this.#unwatch.push(this.#parts.bluetoothd.watch(path, watcher));
  }

  #watchCharacteristic(found: Found): void {
    this.#watch(found.path, {
      onChanged: (of, changed) => {
        if (of !== CHARACTERISTIC) return;
        found.mtu = mtuOf(changed) ?? found.mtu;
        const value = changed.get('Value');
        if (!Buffer.isBuffer(value) || value.length > LONGEST_VALUE) return;
        const bytes = Buffer.from(value);
        if (this.#reading?.path === found.path) this.#reading.said.push(bytes);
        else this.#listeners.get(found.path)?.(bytes);
      },
      onRemoved: () => this.abandon('its characteristics are not what they were'),
    });
  }

  #at(at: number): Found {
    const found = this.#found[at];
    if (found === undefined) throw new PorchlightError('unsupported', 'The lamp has no such characteristic.');
    return found;
  }

  async #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#tail.then(run, run);
    this.#tail = mine.catch(() => undefined);
    return mine;
  }

  /** One method of a characteristic, tried again while another program is at it. */
  #ask({ path }: Found, member: string, signature: string, body: readonly unknown[]): Promise<readonly unknown[]> {
    const until = performance.now() + OPERATION_MS;
    return this.#unlessGone(OPERATION_MS, async () => {
      for (;;) {
        try {
          const deadlineMs = until - performance.now();
          return await this.#parts.bluetoothd.call(path, CHARACTERISTIC, member, { signature, body, deadlineMs });
        } catch (thrown) {
          // A session of ours that bluetoothd has kept over a reconnect.
          if (member === 'StartNotify' && thrown instanceof Error && /already notifying/i.test(thrown.message))
            return [];
          if (!isBluez(thrown, 'InProgress') || performance.now() + BUSY_MS >= until) throw thrown;
          await pause(BUSY_MS);
        }
      }
    });
  }

  /** Ends with the link, and ends the link where it is not done in time. */
  async #unlessGone<T>(deadlineMs: number, run: () => Promise<T>): Promise<T> {
    if (this.#gone !== undefined) throw this.#gone;
    let timer: NodeJS.Timeout | undefined;
    const ended = new Promise<never>((_, reject) => {
      this.#onGone = reject;
      timer = setTimeout(() => this.abandon('it did not answer in time', 'timed_out'), Math.max(1, deadlineMs));
    });
    try {
      return await Promise.race([run(), ended]);
    } catch (thrown) {
      if (isSilence(thrown)) this.abandon('it did not answer in time', 'timed_out');
      if (this.#gone !== undefined) throw this.#gone;
      const failure = operationFailure(thrown, `"bluetoothctl pair ${this.address.toUpperCase()}" does it, once.`);
      // bluetoothd has no link any more, and may have said so before we listened.
      if (failure.code === 'link_lost') this.abandon('bluetoothd has none any more');
      throw failure;
    } finally {
      clearTimeout(timer);
      this.#onGone = undefined;
    }
  }
}

/** What the characteristic allows decides; the frame's own wish only where it allows both. */
function writtenAs(properties: readonly string[], kind: 'request' | 'command'): 'request' | 'command' {
  const acknowledged = properties.includes('write');
  const plain = properties.includes('writeWithoutResponse');
  if (acknowledged === plain) return kind;
  return plain ? 'command' : 'request';
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
