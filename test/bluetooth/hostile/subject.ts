import { parseRadioMessage } from '../../../src/bluetooth/messages.ts';
import { NobleAdapter } from '../../../src/bluetooth/radio/noble-adapter.ts';
import { type Case, liar } from './cases.ts';
import { HOSTILE, ScriptedController, WITNESS } from './controller.ts';

/** Longer than any call of the radio may take after the link of its lamp has ended. */
const SETTLED_MS = 4000;
/** noble and the sockets of this process need a few turns for each packet. */
const TURNS = 2;

/** In which a stream without frames is found out (`h4-socket.ts`). */
const LOST_MS = 3000;

/** Why a process may be right to give itself up: what its controller, not a peer, has said. */
const RIGHT_TO_END =
  /sent half a packet|sent a packet of type|announced a packet of|controller has failed|closed its connection/;

/** What goes on over a link that stands. */
const LINKED: ReadonlySet<string> = new Set(['idle', 'reading', 'writing', 'subscribing']);

const quiet = (): undefined => undefined;
const within = async <T>(ms: number, what: string, promise: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
};

/**
 * All of the radio that parses, as it is in its process (framing, guard, noble, links), driven by a controller that lies. One
 * lives through many cases, as a radio lives through many packets.
 */
export class Subject {
  readonly controller: ScriptedController;
  #adapter: NobleAdapter | undefined;
  #state = '';
  #fatal: string | undefined;
  #told = 0;
  #malformed: string | undefined;
  #witness: number | undefined;
  #hostile: number | undefined;

  private constructor(controller: ScriptedController) {
    this.controller = controller;
  }

  static async start(extended: boolean): Promise<Subject> {
    return new Subject(await ScriptedController.listen(extended));
  }

  close(): void {
    this.controller.close();
  }

  /** What went wrong, or undefined. */
  async run(one: Case): Promise<string | undefined> {
    try {
      await this.#ready();
      this.#told = 0;
      await this.#suffer(one);
      await this.#witnessObeys();
      if (this.#malformed !== undefined) return `told the gateway what is not a message: ${this.#malformed}`;
      // 400 of strangers, as many of the known, and 60 notifications of each lamp, a second.
      if (this.#told > 3000) return `told the gateway ${this.#told} messages in one case`;
      return undefined;
    } catch (thrown) {
      // Frames that are lost are found out after a while.
      for (let ms = 0; this.#fatal === undefined && ms < LOST_MS; ms += 50) await new Promise((r) => setTimeout(r, 50));
      if (this.#fatal !== undefined && RIGHT_TO_END.test(this.#fatal)) return undefined;
      const reason = thrown instanceof Error ? `${thrown.stack}` : String(thrown);
      return this.#fatal === undefined ? reason : `the radio gave itself up (${this.#fatal}); ${reason}`;
    }
  }

  /** The radio has given itself up, rightly or not: its process must end, for noble is one's for life. */
  get isSpent(): boolean {
    return this.#fatal !== undefined;
  }

  async #ready(): Promise<void> {
    if (this.#adapter !== undefined) return;
    const adapter = new NobleAdapter({
      tell: (news) => {
        this.#told += 1;
        const sent: unknown = JSON.parse(JSON.stringify(news));
        if (parseRadioMessage(sent) === undefined) this.#malformed = JSON.stringify(news);
        if (news.is === 'adapter') this.#state = news.state;
      },
      fatal: (reason) => {
        this.#fatal ??= reason;
      },
    });
    this.#adapter = adapter;
    await within(SETTLED_MS, 'the start', adapter.start({ kind: 'h4', address: this.controller.address }));
    adapter.listen(true, [WITNESS.address, HOSTILE.address], undefined);
    await this.#until('the adapter is on', () => this.#state === 'poweredOn');
    await this.#connectWitness();
  }

  async #connectWitness(): Promise<void> {
    const adapter = this.#current();
    const signal = new AbortController().signal;
    const linked = await adapter.connect(WITNESS.address, { timeoutMs: SETTLED_MS, signal, onConnected: quiet });
    this.#witness = linked.link;
  }

  #current(): NobleAdapter {
    if (this.#adapter === undefined) throw new Error('no adapter');
    return this.#adapter;
  }

  async #suffer(one: Case): Promise<void> {
    const { controller } = this;
    const cancel = new AbortController();
    if (!LINKED.has(one.during)) await this.#letGo();
    controller.answer = liar(one.answers);
    controller.reachable = one.during !== 'connecting';
    const work = this.#work(one, cancel.signal);
    let done = false;
    const settled = work.then(quiet, quiet).then(() => {
      done = true;
    });
    await this.#turns();
    for (const packet of one.packets) {
      controller.send(Buffer.from(packet, 'hex'));
      if (one.apart) await this.#turns();
    }
    // As long as the lamp is still asked something new, it is not stuck.
    for (let before = -1; !done && before !== controller.asked; ) {
      before = controller.asked;
      await this.#turns();
    }
    cancel.abort();
    controller.reachable = true;
    // What is stuck ends with its link; otherwise the link is the next case's too.
    if (!done) controller.hangUp(HOSTILE.handle);
    if (this.#fatal === undefined) await within(SETTLED_MS + 1500, `what it was ${one.during}`, settled);
    controller.answer = undefined;
  }

  /** What the radio is at with the hostile lamp. */
  async #work(one: Case, signal: AbortSignal): Promise<void> {
    const adapter = this.#current();
    const at = one.during;
    if (this.#link(this.#hostile) === undefined || !this.controller.isLinked(HOSTILE.handle)) {
      if (LINKED.has(at)) await this.#letGo();
      // Only what is to happen to a discovery happens in it.
      if (LINKED.has(at)) this.controller.answer = undefined;
      const options = { timeoutMs: SETTLED_MS, signal, onConnected: quiet };
      this.#hostile = (await adapter.connect(HOSTILE.address, options)).link;
      this.controller.answer = liar(one.answers);
    }
    const link = adapter.link(this.#hostile ?? 0);
    if (at === 'reading') await link.read(1);
    if (at === 'writing') await link.write({ at: 0, bytes: Buffer.from('7e00', 'hex'), kind: 'request' });
    if (at === 'subscribing') await link.subscribe(1, quiet);
  }

  /** Everything that was sent has been handled: the witness, on the same stream, has answered since. */
  async #turns(): Promise<void> {
    for (let turn = 0; turn < TURNS; turn += 1) {
      if (this.#fatal !== undefined) return;
      const link = this.#link(this.#witness);
      const answered = link?.write({ at: 0, bytes: Buffer.from('00', 'hex'), kind: 'request' }).then(quiet, quiet);
      await Promise.race([answered ?? Promise.resolve(), new Promise((resolve) => setTimeout(resolve, 20))]);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #link(number: number | undefined) {
    try {
      return number === undefined ? undefined : this.#current().link(number);
    } catch {
      return undefined;
    }
  }

  /** At the end the lamp that behaves obeys: over its link, or, where the controller lied about it, over the next. */
  async #witnessObeys(): Promise<void> {
    if (this.#fatal !== undefined) throw new Error('the witness is lost with it');
    const write = async (): Promise<void> => {
      const link = this.#link(this.#witness);
      if (link === undefined) throw new Error('the witness is not connected');
      await link.write({ at: 0, bytes: Buffer.from('7e', 'hex'), kind: 'request' });
    };
    try {
      await within(50, 'the witness obeys', write());
    } catch {
      this.controller.hangUp(WITNESS.handle);
      await this.#until('the witness is let go', () => this.#link(this.#witness) === undefined);
      await within(SETTLED_MS, 'the witness connects again', this.#connectWitness());
      await within(SETTLED_MS, 'the witness obeys again', write());
    }
  }

  /** The hostile lamp ends its link, if it has one, and the radio knows. */
  async #letGo(): Promise<void> {
    this.controller.hangUp(HOSTILE.handle);
    await this.#until('the hostile lamp is let go', () => this.#link(this.#hostile) === undefined);
  }

  async #until(what: string, good: () => boolean): Promise<void> {
    const end = performance.now() + SETTLED_MS;
    while (!good()) {
      if (this.#fatal !== undefined) throw new Error(`${what}: never`);
      if (performance.now() > end) throw new Error(`not within ${SETTLED_MS} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
