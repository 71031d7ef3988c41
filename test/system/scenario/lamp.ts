import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Deadline, must } from './machine.ts';

export const CONTROLLER = 1;

interface LampEvent {
  readonly event: string;
  /** performance.now() when it was heard of. */
  readonly at: number;
  readonly bytes?: string;
  readonly address?: string;
  readonly error?: string;
  readonly reason?: number;
  /** ms */
  readonly supervisionTimeout?: number;
}

/** The lamp (`../lamp.js`) in its own process, on its own controller. */
export class Lamp {
  /** All that befell it, oldest first. */
  readonly events: LampEvent[] = [];
  #child: ChildProcess | undefined;

  /** Plugs it in. Resolves with its address once it advertises. */
  async start(deadline: Deadline): Promise<string> {
    // bluetoothd powers every controller up that it sees, and this one is to be the lamp's alone: it must be down for that.
    // A controller that the lamp has just let go is seen and powered up by bluetoothd at a moment of its own.
    return deadline.until('the lamp has its controller', async () => {
      await must('hciconfig', `hci${CONTROLLER}`, 'down');
      const since = this.events.length;
      this.#spawn();
      const outcome = await new Promise<string | undefined>((resolve) => {
        this.#child?.once('exit', () => resolve(undefined));
        void deadline
          .until('it advertises', () => this.events.slice(since).find(({ event }) => event === 'ready')?.address, 20)
          .then(resolve, () => resolve(undefined));
      });
      if (outcome === undefined) await this.kill();
      return outcome;
    });
  }

  #spawn(): void {
    const child = spawn(process.execPath, ['/checkout/test/system/lamp.js'], {
      env: { PATH: process.env['PATH'], BLENO_HCI_DEVICE_ID: String(CONTROLLER), HCI_CHANNEL_USER: '1' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let rest = '';
    const take = (text: string): void => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#heard(line);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.#note('error', { error: text }));
    child.stdin.on('error', () => this.#note('unplugged'));
    this.#child = child;
  }

  #heard(line: string): void {
    try {
      const said: LampEvent = JSON.parse(line);
      this.events.push({ ...said, at: performance.now() });
    } catch {
      this.#note('error', { error: line });
    }
  }

  #note(event: string, more: Partial<LampEvent> = {}): void {
    this.events.push({ event, ...more, at: performance.now() });
  }

  /** Says a word of lamp.js. */
  tell(words: string): void {
    this.#note(words);
    this.#child?.stdin?.write(`${words}\n`);
  }

  /** All frames that it got since `position` in its events. */
  writesSince(position: number): readonly string[] {
    return this.events.slice(position).flatMap(({ bytes, event }) => (event === 'write' && bytes ? [bytes] : []));
  }

  /** It stays connected, and answers nothing. */
  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Its power is cut without a last word, not even to its own controller: btvirt then tells the other side nothing. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    this.#note('killed');
    await sleep(100);
  }
}
