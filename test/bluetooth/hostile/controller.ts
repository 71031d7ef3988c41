import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The lamp that behaves, and the one that does not. Their connections' handles are always the same. */
export const WITNESS = { address: '00:00:00:00:00:11', handle: 1 } as const;
export const HOSTILE = { address: '00:00:00:00:00:22', handle: 2 } as const;

/** What a hostile lamp answers to an attribute request, octets or silence. */
export type Answer = (request: Buffer) => Buffer | undefined;

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const u16 = (value: number): readonly number[] => [value & 0xff, (value >> 8) & 0xff];

/** Return parameters of the commands that noble sends; all others are answered by a bare success. */
const RETURNS: ReadonlyMap<number, string> = new Map([
  [0x1001, '00 0b 0000 0b 0f00 0000'],
  [0x1009, '00 010203040506'],
  [0x0c6c, '00 01 00'],
  [0x2002, '00 fb00 08'],
  [0x202f, '00 fb00 4808 fb00 4808'],
  [0x2022, '00 0000'],
]);

/** The attributes of both lamps: a service with a characteristic to write and one to read and be notified by. */
const SERVICE = { start: 1, end: 6, uuid: 0xfff0 };
const CHARACTERISTICS = [hex('0200 0c 0300 f3ff'), hex('0400 12 0500 f4ff')];

/**
 * A controller of the smallest kind, in the process of the radio's own parts but behind a real H4 stream: it connects to two
 * lamps at once, and sends whatever it is told to between its own packets.
 */
export class ScriptedController {
  readonly extended: boolean;
  readonly path: string;
  readonly #server: Server;
  #host: Socket | undefined;
  readonly #linked = new Set<number>();
  #pending: string | undefined;
  /** Where set, what the hostile lamp answers. */
  answer: Answer | undefined;
  /** Does the hostile lamp answer a connection request? */
  reachable = true;
  /** Attribute requests of the hostile lamp so far. */
  asked = 0;

  private constructor(extended: boolean, path: string, server: Server) {
    this.extended = extended;
    this.path = path;
    this.#server = server;
  }

  static async listen(extended: boolean): Promise<ScriptedController> {
    const path = join(tmpdir(), `porchlight-hostile-${process.pid}-${Math.random().toString(36).slice(2)}.sock`);
    const server = createServer();
    const controller = new ScriptedController(extended, path, server);
    server.on('connection', (socket) => controller.#serve(socket));
    server.listen(path);
    await once(server, 'listening');
    return controller;
  }

  get address(): string {
    return `unix:${this.path}`;
  }

  close(): void {
    this.#host?.destroy();
    this.#server.close();
    rmSync(this.path, { force: true });
  }

  isLinked(handle: number): boolean {
    return this.#linked.has(handle);
  }

  /** Hands the host these octets, whatever they are. */
  send(bytes: Buffer): void {
    if (this.#host?.destroyed === false) this.#host.write(bytes);
  }

  /** The lamp ends its connection. */
  hangUp(handle: number): void {
    if (this.#linked.delete(handle)) this.send(hex(`04 05 04 00 0${handle}00 13`));
  }

  /** One attribute packet of a lamp. */
  att(handle: number, pdu: Buffer): void {
    const head = [0x02, ...u16(handle | 0x2000), ...u16(pdu.length + 4), ...u16(pdu.length), 4, 0];
    this.send(Buffer.concat([Buffer.from(head), pdu]));
  }

  #serve(socket: Socket): void {
    this.#host?.destroy();
    this.#host = socket;
    this.#linked.clear();
    this.#pending = undefined;
    let rest: Buffer = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (;;) {
        const isAcl = rest[0] === 2;
        if (rest.length < (isAcl ? 5 : 4)) return;
        const length = isAcl ? 5 + rest.readUInt16LE(3) : 4 + rest.readUInt8(3);
        if (rest.length < length) return;
        const packet = rest.subarray(0, length);
        rest = rest.subarray(length);
        if (isAcl) this.#data(packet);
        else this.#command(packet.readUInt16LE(1), packet.subarray(4));
      }
    });
  }

  #event(code: number, parameters: readonly number[]): void {
    this.send(Buffer.from([4, code, parameters.length, ...parameters]));
  }

  #command(opcode: number, parameters: Buffer): void {
    const status = (code: number): void => this.#event(0x0f, [code, 1, ...u16(opcode)]);
    switch (opcode) {
      case 0x0406: {
        const handle = parameters.readUInt16LE(0);
        status(this.#linked.has(handle) ? 0 : 2);
        if (this.#linked.delete(handle)) this.#event(0x05, [0, ...u16(handle), 0x16]);
        return;
      }
      case 0x200d:
      case 0x2043: {
        status(this.#pending === undefined ? 0 : 0x0c);
        this.#pending ??= parameters.toString('hex', opcode === 0x200d ? 6 : 3, opcode === 0x200d ? 12 : 9);
        this.#connect();
        return;
      }
      case 0x2013:
        status(0);
        return;
      case 0x2003:
        this.#complete(opcode, Buffer.from([0, 0x20, this.extended ? 0x10 : 0, 0, 0, 0, 0, 0, 0]));
        return;
      case 0x200e:
        this.#complete(opcode, Buffer.from([this.#pending === undefined ? 0x0c : 0]));
        if (this.#pending !== undefined) this.#connected(2, 0, Buffer.alloc(6));
        this.#pending = undefined;
        return;
      case 0x0c03:
        this.#linked.clear();
        this.#pending = undefined;
        this.#complete(opcode, Buffer.from([0]));
        return;
      default:
        this.#complete(opcode, hex(RETURNS.get(opcode) ?? '00'));
        if ((opcode === 0x200c || opcode === 0x2042) && parameters[0] === 1) this.#advertise();
    }
  }

  #complete(opcode: number, returns: Buffer): void {
    this.#event(0x0e, [1, ...u16(opcode), ...returns]);
  }

  /** Looks for the peer that the host wants to connect to. */
  #connect(): void {
    for (const { address, handle } of [WITNESS, HOSTILE]) {
      const octets = hex(address.split(':').reverse().join(''));
      if (octets.toString('hex') !== this.#pending || this.#linked.has(handle)) continue;
      if (handle === HOSTILE.handle && !this.reachable) continue;
      this.#pending = undefined;
      this.#linked.add(handle);
      this.#connected(0, handle, octets);
    }
  }

  #connected(status: number, handle: number, octets: Buffer): void {
    this.#event(0x3e, [0x01, status, ...u16(handle), 0, 0, ...octets, 0x0c, 0, 0, 0, 0x58, 0x02, 0]);
  }

  #advertise(): void {
    for (const { address, handle } of [WITNESS, HOSTILE]) {
      if (this.#linked.has(handle)) continue;
      const from = [0, ...hex(address.split(':').reverse().join(''))];
      if (!this.extended) this.#event(0x3e, [0x02, 1, 0, ...from, 4, 3, 3, 0xf0, 0xff, 0xc4]);
      else {
        const middle = [1, 0, 0xff, 0x7f, 0xc4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        this.#event(0x3e, [0x0d, 1, 0x13, 0, ...from, ...middle, 4, 3, 3, 0xf0, 0xff]);
      }
    }
  }

  #data(packet: Buffer): void {
    const handle = packet.readUInt16LE(1) & 0x0fff;
    if (!this.#linked.has(handle)) return;
    this.#event(0x13, [1, ...u16(handle), 1, 0]);
    if (packet.length < 10 || packet.readUInt16LE(7) !== 4) return;
    const request = packet.subarray(9);
    const isRequest = (request[0] ?? 1) % 2 === 0 && ((request[0] ?? 0) & 0x40) === 0 && request[0] !== 0x1e;
    if (!isRequest) return;
    const lies = handle === HOSTILE.handle ? this.answer : undefined;
    if (handle === HOSTILE.handle) this.asked += 1;
    const answer = lies === undefined ? truth(request) : lies(request);
    if (answer !== undefined) this.att(handle, answer);
  }
}

/** What an honest lamp answers. */
export function truth(request: Buffer): Buffer {
  const opcode = request[0] ?? 0;
  const [start, end] = request.length >= 5 ? [request.readUInt16LE(1), request.readUInt16LE(3)] : [0, 0];
  const refused = Buffer.from([0x01, opcode, ...u16(start), 0x0a]);
  switch (opcode) {
    case 0x02:
      return hex('03 f700');
    case 0x10:
      return start <= SERVICE.start ? Buffer.from([0x11, 6, ...u16(1), ...u16(6), ...u16(SERVICE.uuid)]) : refused;
    case 0x08: {
      if (request.readUInt16LE(5) === 0x2902) return hex('09 04 0600 0000');
      const found = CHARACTERISTICS.filter((one) => one.readUInt16LE(0) >= start && one.readUInt16LE(0) <= end);
      return found.length === 0 ? refused : Buffer.concat([hex('09 07'), ...found]);
    }
    case 0x0a:
      return hex('0b aabb');
    case 0x0c:
      return hex('0d');
    case 0x12:
      return hex('13');
    default:
      return refused;
  }
}
