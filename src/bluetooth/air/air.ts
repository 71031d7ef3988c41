import { Controller } from './controller.ts';
import { Faults } from './faults.ts';
import { Flood } from './flood.ts';
import { H4Server } from './h4-server.ts';
import { attackPackets } from './hostile.ts';
import { type Moment, VirtualLamp } from './lamp.ts';
import {
  type AirEvent,
  type AirRequest,
  isRadioFault,
  type RadioFault,
  type StartOptions,
  type Written,
} from './messages.ts';

/** So many of the newest writes are kept. */
const LOG_LENGTH = 10_000;

/**
 * The air: virtual lamps, and a virtual controller for whatever host connects. Lamps and the log of what reached them outlive
 * every host, so killing the radio does not erase the evidence.
 */
export class Air {
  readonly #emit: (event: AirEvent) => void;
  readonly #options: StartOptions;
  readonly #lamps: ReadonlyMap<string, VirtualLamp>;
  readonly #faults = new Faults<RadioFault>();
  readonly #server: H4Server;
  readonly #log: Written[] = [];
  #count = 0;
  #controller: Controller | undefined;
  #flood: Flood | undefined;

  constructor(options: StartOptions, emit: (event: AirEvent) => void, now: () => Moment) {
    this.#options = options;
    this.#emit = (event) => queueMicrotask(() => emit(event));
    const evidence = {
      written: (entry: Written) => this.#written(entry),
      changed: (lamp: VirtualLamp) => this.#emit({ event: 'lamp', lamp: lamp.spec.address, state: lamp.state }),
      linked: (lamp: VirtualLamp) => this.#emit({ event: 'link', lamp: lamp.spec.address, connected: lamp.connected }),
    };
    this.#lamps = new Map(options.lamps.map((spec) => [spec.address, new VirtualLamp(spec, evidence, now)]));
    this.#server = new H4Server(
      (port) => {
        const controller = new Controller(options, [...this.#lamps.values()], port, this.#faults);
        this.#controller = controller;
        this.#emit({ event: 'host', connected: true });
        return {
          receive: (packet) => controller.receive(packet),
          lostSynchronisation: () => controller.lostSynchronisation(),
          close: () => this.#hostGone(controller),
        };
      },
      (thrown) => this.#emit({ event: 'error', message: thrown instanceof Error ? thrown.message : String(thrown) }),
    );
  }

  /** Resolves with the address that a host connects to. */
  async listen(): Promise<string> {
    return await this.#server.listen(this.#options.listen);
  }

  close(): void {
    this.#flood?.stop();
    this.#server.close();
  }

  /** Carries out one request other than start and stop. Its answer, if it has an id, comes after all that it causes. */
  handle(request: Exclude<AirRequest, { op: 'start' | 'stop' }>): void {
    const answer = this.#carryOut(request);
    if (answer !== undefined) this.#emit(answer);
  }

  #carryOut(request: Exclude<AirRequest, { op: 'start' | 'stop' }>): AirEvent | undefined {
    switch (request.op) {
      case 'log':
        return { event: 'log', id: request.id, count: this.#count, entries: this.#log };
      case 'lamps':
        return { event: 'lamps', id: request.id, lamps: [...this.#lamps.values()].map((lamp) => lamp.report()) };
      case 'lamp': {
        const lamp = this.#lamps.get(request.lamp);
        if (lamp === undefined) return unknownLamp(request.lamp, request.id);
        lamp.change(request.set);
        break;
      }
      case 'fault': {
        if (request.lamp !== undefined && !this.#lamps.has(request.lamp)) return unknownLamp(request.lamp, request.id);
        this.#fault(request);
        break;
      }
      case 'inject': {
        if (request.lamp === undefined) {
          this.#controller?.send(Buffer.from(request.hex, 'hex'));
          break;
        }
        const lamp = this.#lamps.get(request.lamp);
        if (lamp === undefined) return unknownLamp(request.lamp, request.id);
        const { handle } = lamp.report().link ?? {};
        if (handle === undefined) break;
        for (const one of attackPackets(handle, request, this.#options.buffers.length)) this.#controller?.send(one);
        break;
      }
      case 'flood': {
        this.#flood?.stop();
        const { id } = request;
        const port = (): Controller | undefined => this.#controller;
        this.#flood = new Flood(request, port, () => id !== undefined && this.#emit({ event: 'done', id }));
        this.#flood.start();
        return undefined;
      }
    }
    return request.id === undefined ? undefined : { event: 'done', id: request.id };
  }

  #fault({ fault, lamp, on }: Extract<AirRequest, { op: 'fault' }>): void {
    if (!isRadioFault(fault)) {
      for (const each of this.#lamps.values()) {
        if (lamp === undefined || each.spec.address === lamp) each.fault(fault, on);
      }
      return;
    }
    switch (fault.kind) {
      case 'scan-stops':
        if (on) this.#controller?.stopScanning();
        return;
      case 'closes-h4':
        if (on) this.#server.dropHost();
        return;
      case 'refuses-h4':
        this.#server.closed = on;
        if (on) this.#server.dropHost();
        return;
      default:
        this.#faults.set(fault, on);
    }
  }

  #written(entry: Written): void {
    this.#count += 1;
    this.#log.push(entry);
    if (this.#log.length > 2 * LOG_LENGTH) this.#log.splice(0, LOG_LENGTH);
    if (!this.#options.quiet) this.#emit({ event: 'written', ...entry });
  }

  #hostGone(controller: Controller): void {
    controller.close();
    if (this.#controller === controller) this.#controller = undefined;
    this.#emit({ event: 'host', connected: false });
  }
}

function unknownLamp(address: string, id: number | undefined): AirEvent {
  return { event: 'error', message: `There is no lamp ${address}.`, ...(id === undefined ? {} : { id }) };
}
