import type { LampInput } from './bluetooth/air/messages.ts';
import type { RadioBackend } from './bluetooth/messages.ts';
import { startVirtualAir } from './bluetooth/virtual-air.ts';
import type { HouseConfig } from './config/schema.ts';
import { pinned } from './families/index.ts';

export interface BackendParts {
  readonly config: Pick<HouseConfig, 'bluetooth' | 'lights'>;
  /** The compiled program of the air process. */
  readonly entries: { readonly air: URL };
}

/** Which controller the radio is to drive; for the backend `virtual`, one that is started here. */
export async function openBackend({ config, entries }: BackendParts): Promise<{
  readonly backend: RadioBackend;
  /** Ends what was started for it. */
  readonly close: () => Promise<void>;
}> {
  const { backend, adapter, h4, virtual } = config.bluetooth;
  if (backend === 'virtual') {
    const air = await startVirtualAir(
      entries.air,
      virtualLamps(config.lights, virtual.lights),
      virtual.connection_interval,
    );
    return { backend: { kind: 'h4', address: air.address }, close: air.stop };
  }
  const none = (): Promise<void> => Promise.resolve();
  if (backend === 'h4' && h4 !== undefined) return { backend: { kind: 'h4', address: h4 }, close: none };
  return { backend: { kind: backend === 'dbus' ? 'dbus' : 'hci', adapter }, close: none };
}

/** What a virtual lamp of each family calls itself on the air; unpinned lamps take turns. */
const VIRTUAL_NAMES: Readonly<Record<string, string>> = {
  triones: 'Triones:F30200000152C',
  'elk-bledom': 'ELK-BLEDOM',
};

/** A virtual lamp at each configured address; where `count` asks for more, further ones that nobody configured. */
function virtualLamps(lights: HouseConfig['lights'], count: number): readonly LampInput[] {
  const configured = lights.map(({ address, model }, at): LampInput => {
    const identity = model === undefined ? undefined : pinned(model);
    const family = (identity?.family.id ?? Object.keys(VIRTUAL_NAMES)[at % 2]) === 'triones' ? 'triones' : 'elk-bledom';
    const name = family === 'elk-bledom' && identity !== undefined ? identity.model.id : VIRTUAL_NAMES[family];
    return { address, family, name: name ?? family };
  });
  const strangers = Array.from({ length: Math.max(0, count - lights.length) }, (_, at): LampInput => {
    const family = at % 2 === 0 ? 'triones' : 'elk-bledom';
    const address = `be:ff:20:ee:00:${(at + 1).toString(16).padStart(2, '0')}`;
    return { address, family, name: VIRTUAL_NAMES[family] ?? family };
  });
  return [...configured, ...strangers];
}
