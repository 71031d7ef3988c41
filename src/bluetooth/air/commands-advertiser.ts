import { type Answer, type Command, type Commands, done } from './command.ts';
import type { Controller } from './controller.ts';
import { STATUS, u16 } from './hci.ts';

/**
 * The advertiser and the resolving list: what Linux sets up before it brings a controller up (net/bluetooth/hci_sync.c,
 * hci_le_init and hci_powered_update). All of it is kept as told, and nobody is there to hear it.
 */

const SETS = 4;
const LONGEST_ADVERT = 1650;
const RESOLVING_LIST = 8;

const legacy = (length: number, bit: readonly [number, number], run: Command['run'] = done): Command => ({
  length,
  bit,
  set: 'legacy',
  run,
});
const extended = (length: number, bit: readonly [number, number], run: Command['run'] = done): Command => ({
  length,
  bit,
  set: 'extended',
  five: true,
  run,
});
const five = (length: number, bit: readonly [number, number], run: Command['run'] = done): Command => ({
  length,
  bit,
  five: true,
  run,
});

export const ADVERTISER: Commands = new Map<number, Command>([
  [0x2006, legacy(15, [25, 5])],
  [0x2007, legacy(0, [25, 6], () => ({ complete: [STATUS.SUCCESS, 0] }))],
  [0x2008, legacy(32, [25, 7])],
  [0x2009, legacy(32, [26, 0])],
  [0x200a, legacy(1, [26, 1])],
  [0x2035, extended(7, [36, 1], ofSet)],
  [0x2036, extended(25, [36, 2], setParameters)],
  [0x2037, extended(4, [36, 3], ofSet)],
  [0x2038, extended(4, [36, 4], ofSet)],
  [0x2039, extended(2, [36, 5])],
  [0x203a, extended(0, [36, 6], () => ({ complete: [STATUS.SUCCESS, ...u16(LONGEST_ADVERT)] }))],
  [0x203b, extended(0, [36, 7], () => ({ complete: [STATUS.SUCCESS, SETS] }))],
  [0x203c, extended(1, [37, 0], removeSet)],
  [0x203d, extended(0, [37, 1], clearSets)],
  [0x2027, five(39, [34, 3], addPeer)],
  [0x2028, five(7, [34, 4], removePeer)],
  [0x2029, five(0, [34, 5], clearPeers)],
  [0x202a, five(0, [34, 6], () => ({ complete: [STATUS.SUCCESS, RESOLVING_LIST] }))],
  [0x202d, five(1, [35, 1])],
  [0x202e, five(2, [35, 2])],
  [0x204e, five(8, [39, 2])],
  // Transmit power -20 to +8 dBm; no loss on the way to the antenna.
  [0x204b, five(0, [38, 7], () => ({ complete: [STATUS.SUCCESS, 0xec, 8] }))],
  [0x204c, five(0, [39, 0], () => ({ complete: [STATUS.SUCCESS, 0, 0, 0, 0] }))],
  [0x204d, five(4, [39, 1])],
]);

function setParameters(radio: Controller, p: Buffer): Answer {
  const set = p[0] ?? 0;
  // Then the chosen transmit power, in dBm.
  if (radio.advertisingSets.size >= SETS && !radio.advertisingSets.has(set)) {
    return { complete: [STATUS.MEMORY_FULL, 0] };
  }
  radio.advertisingSets.add(set);
  return { complete: [STATUS.SUCCESS, 0] };
}

function ofSet(radio: Controller, p: Buffer): Answer {
  return { complete: [radio.advertisingSets.has(p[0] ?? 0) ? STATUS.SUCCESS : STATUS.UNKNOWN_ADVERTISING_SET] };
}

function removeSet(radio: Controller, p: Buffer): Answer {
  const known = radio.advertisingSets.delete(p[0] ?? 0);
  return { complete: [known ? STATUS.SUCCESS : STATUS.UNKNOWN_ADVERTISING_SET] };
}

function clearSets(radio: Controller): Answer {
  radio.advertisingSets.clear();
  return { complete: [STATUS.SUCCESS] };
}

const peerOf = (p: Buffer): string => p.subarray(0, 7).toString('hex');

function addPeer(radio: Controller, p: Buffer): Answer {
  const peer = peerOf(p);
  if (radio.resolvingList.has(peer)) return { complete: [STATUS.INVALID_PARAMETERS] };
  if (radio.resolvingList.size >= RESOLVING_LIST) return { complete: [STATUS.MEMORY_FULL] };
  radio.resolvingList.add(peer);
  return { complete: [STATUS.SUCCESS] };
}

function removePeer(radio: Controller, p: Buffer): Answer {
  return { complete: [radio.resolvingList.delete(peerOf(p)) ? STATUS.SUCCESS : STATUS.UNKNOWN_CONNECTION] };
}

function clearPeers(radio: Controller): Answer {
  radio.resolvingList.clear();
  return { complete: [STATUS.SUCCESS] };
}
