import { Controller, type ControllerOptions } from '../../../src/bluetooth/air/controller.ts';
import { Faults } from '../../../src/bluetooth/air/faults.ts';
import { VirtualLamp } from '../../../src/bluetooth/air/lamp.ts';
import { type LampInput, parseRequest, type RadioFault, type Written } from '../../../src/bluetooth/air/messages.ts';

/** One controller with two lamps, without process or socket. Packets in hex; spaces in them mean nothing to `h`. */

export const ADDRESS = 'be:ff:20:00:11:22';
export const PEER = '22110020ffbe';
export const OTHER = '33110020ffbe';
/** Event masks with LE Meta (bit 61), and all LE events that a 4.2 host knows. */
export const MASKS = ['01010c08ffffffffffffff3f', '01012008ff01000000000000'];
export const h = (spaced: string): string => spaced.replaceAll(' ', '');
/** LE Create Connection: no latency, 420 ms supervision timeout. Intervals in units of 1.25 ms. */
export const create = (peer: string, { type = '00', policy = '00', interval = '0600 1200' } = {}): string =>
  h(`01 0d20 19 6000 3000 ${policy} ${type} ${peer} 00 ${interval} 0000 2a00 0400 0600`);

export interface Bench {
  readonly lamp: VirtualLamp;
  readonly written: Written[];
  readonly faults: Faults<RadioFault>;
  readonly controller: Controller;
  /** What came back since the last `send`. */
  readonly port: string[];
  /** Sends packets and returns what came back at once and on the next turn of the event loop, as hex. */
  send(...packets: string[]): Promise<string[]>;
}

export function bench(options: Partial<ControllerOptions> = {}, first: Partial<LampInput> = {}): Bench {
  const parsed = parseRequest({
    op: 'start',
    listen: { tcp: 0 },
    lamps: [
      { address: ADDRESS, name: 'ELK-BLEDOM', family: 'elk-bledom', rssi: -66, ...first },
      { address: 'be:ff:20:00:11:33', name: 'Triones-2', family: 'triones' },
    ],
  });
  if (!('request' in parsed) || parsed.request.op !== 'start') throw new Error('the lamps are wrong');
  const written: Written[] = [];
  const evidence = {
    written: (entry: Written) => void written.push(entry),
    changed: () => undefined,
    linked: () => undefined,
  };
  const lamps = parsed.request.lamps.map(
    (spec) => new VirtualLamp(spec, evidence, () => ({ at: 0, mono: performance.now() })),
  );
  const [lamp] = lamps;
  if (lamp === undefined) throw new Error('no lamp');
  const heard: string[] = [];
  const faults = new Faults<RadioFault>();
  const controller = new Controller(
    {
      connectionIntervalMs: 0,
      advertisingIntervalMs: 10_000,
      packetsPerEvent: 4,
      maxLinks: 2,
      limitError: 0x09,
      reportsPerEvent: 1,
      buffers: { length: 27, count: 4 },
      extended: false,
      ...options,
    },
    lamps,
    { send: (packet) => heard.push(packet.toString('hex')), together: (moves) => moves(), congested: false },
    faults,
  );
  const send = async (...packets: string[]): Promise<string[]> => {
    heard.length = 0;
    for (const packet of packets) controller.receive(Buffer.from(packet, 'hex'));
    await new Promise((resolve) => setImmediate(resolve));
    return [...heard];
  };
  return { lamp, written, faults, controller, port: heard, send };
}

export async function linked(options: Partial<ControllerOptions> = {}, first: Partial<LampInput> = {}): Promise<Bench> {
  const made = bench(options, first);
  await made.send(...MASKS, create(PEER));
  return made;
}
