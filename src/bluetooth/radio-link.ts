import { PorchlightError } from '../errors.ts';
import type { Frame } from '../lights/family.ts';
import type { Link, LinkCharacteristic } from './central.ts';
import { LONGEST_VALUE, MOST_VALUES } from './limits.ts';
import type { Answer, Question } from './radio-life.ts';

/** A little above the radio's own deadline, which is the one that should be met. */
const OPERATION_MS = 8000;

interface Asks {
  ask(question: Question, expects: Answer['is'], deadlineMs: number): Promise<Answer>;
}

/** A connection that the radio holds for us. */
export class RadioLink implements Link {
  readonly address: string;
  readonly characteristics: readonly LinkCharacteristic[];
  readonly #radio: Asks;
  readonly #number: number;
  readonly #gone = new AbortController();
  readonly #listeners = new Map<number, (bytes: Uint8Array) => void>();

  constructor(radio: Asks, address: string, number: number, characteristics: readonly LinkCharacteristic[]) {
    this.#radio = radio;
    this.address = address;
    this.#number = number;
    this.characteristics = characteristics;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  async write(...frames: readonly Frame[]): Promise<void> {
    const values = frames.map(({ characteristic, bytes, kind }) => {
      const at = this.#at(characteristic, ['write', 'writeWithoutResponse']);
      if (bytes.length > LONGEST_VALUE)
        throw new PorchlightError('unsupported', 'No lamp takes a value of that length.');
      return { at, hex: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex'), kind };
    });
    for (let done = 0; done < values.length; done += MOST_VALUES) {
      await this.#ask({ op: 'write', link: this.#number, values: values.slice(done, done + MOST_VALUES) }, 'done');
    }
  }

  async read(characteristic: string): Promise<Uint8Array> {
    const answer = await this.#ask({ op: 'read', link: this.#number, at: this.#at(characteristic, ['read']) }, 'read');
    return answer.is === 'read' ? Buffer.from(answer.hex, 'hex') : new Uint8Array();
  }

  async subscribe(characteristic: string, onValue: (bytes: Uint8Array) => void): Promise<void> {
    const at = this.#at(characteristic, ['notify', 'indicate']);
    // Before it is asked for: a lamp may speak at once.
    this.#listeners.set(at, onValue);
    await this.#ask({ op: 'subscribe', link: this.#number, at }, 'done');
  }

  async disconnect(): Promise<void> {
    if (this.gone.aborted) return;
    try {
      await this.#ask({ op: 'disconnect', link: this.#number }, 'done');
    } catch (thrown) {
      // Lost meanwhile: it is gone either way.
      if (!(thrown instanceof PorchlightError) || thrown.code !== 'link_lost') throw thrown;
    }
    this.lose(new PorchlightError('link_lost', 'The link was given up.'));
  }

  /** The link is gone. */
  lose(reason: PorchlightError): void {
    this.#listeners.clear();
    this.#gone.abort(reason);
  }

  /** A value that the lamp sent by itself. */
  hear(at: number, bytes: Uint8Array): void {
    this.#listeners.get(at)?.(bytes);
  }

  #ask(question: Question, expects: Answer['is']): Promise<Answer> {
    if (this.gone.aborted) return Promise.reject(this.gone.reason);
    return this.#radio.ask(question, expects, OPERATION_MS);
  }

  /** The first characteristic of that UUID which can do it; several services may have one of the same UUID. */
  #at(uuid: string, properties: readonly string[]): number {
    const at = this.characteristics.findIndex(
      (one) => one.uuid === uuid && one.properties.some((property) => properties.includes(property)),
    );
    if (at >= 0) return at;
    const known = this.characteristics.some((one) => one.uuid === uuid);
    throw new PorchlightError(
      'unsupported',
      known ? `The lamp's characteristic ${uuid} cannot do this.` : `The lamp has no characteristic ${uuid}.`,
    );
  }
}
