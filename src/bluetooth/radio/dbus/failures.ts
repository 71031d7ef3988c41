import { PorchlightError } from '../../../errors.ts';
import { CallFailed, DISCONNECTED, NO_REPLY } from './bus.ts';

/** Of the bus: whoever was called is not there (any more), or has no such object. */
const ABSENT: ReadonlySet<string> = new Set([
  'org.freedesktop.DBus.Error.UnknownObject',
  'org.freedesktop.DBus.Error.UnknownMethod',
  'org.freedesktop.DBus.Error.UnknownInterface',
  'org.freedesktop.DBus.Error.InvalidArgs',
  'org.bluez.Error.DoesNotExist',
]);
const NO_SERVICE: ReadonlySet<string> = new Set([
  'org.freedesktop.DBus.Error.ServiceUnknown',
  'org.freedesktop.DBus.Error.NameHasNoOwner',
  'org.freedesktop.DBus.Error.Spawn.ServiceNotFound',
  'org.freedesktop.DBus.Error.Spawn.ChildExited',
  'org.freedesktop.DBus.Error.Spawn.ChildSignaled',
  DISCONNECTED,
]);
const DENIED = 'org.freedesktop.DBus.Error.AccessDenied';
const BLUEZ_ERROR = 'org.bluez.Error.';

const isFailure = (thrown: unknown, names: ReadonlySet<string>): boolean =>
  thrown instanceof CallFailed && names.has(thrown.error);

/** True where the object is not there; bluetoothd is. */
export const isAbsent = (thrown: unknown): boolean => isFailure(thrown, ABSENT);
export const isServiceGone = (thrown: unknown): boolean => isFailure(thrown, NO_SERVICE);
export const isDenied = (thrown: unknown): boolean => thrown instanceof CallFailed && thrown.error === DENIED;
export const isSilence = (thrown: unknown): boolean => thrown instanceof CallFailed && thrown.error === NO_REPLY;

/** True for that error of BlueZ: `InProgress`. */
export const isBluez = (thrown: unknown, name: string): boolean =>
  thrown instanceof CallFailed && thrown.error === `${BLUEZ_ERROR}${name}`;

const said = ({ error, text }: CallFailed): string =>
  `${error.replace(BLUEZ_ERROR, '').replace('org.freedesktop.DBus.Error.', '')}: ${text}`.slice(0, 100);

/** Why `Device1.Connect` failed, in our codes. Its `Failed` carries a word: `le-connection-…` (BlueZ's src/error.h), or errno's text. */
export function connectFailure(thrown: unknown): PorchlightError {
  if (!(thrown instanceof CallFailed)) return asIs(thrown, 'connect_failed');
  if (isServiceGone(thrown) || isBluez(thrown, 'NotReady') || /not-powered/.test(thrown.text)) {
    return new PorchlightError('adapter_off');
  }
  if (isDenied(thrown))
    return new PorchlightError('adapter_off', 'The bus does not let this user speak to bluetoothd.');
  if (/connection-limit|Too many links/i.test(thrown.text)) {
    return new PorchlightError('out_of_slots', `The adapter has no room for another connection (${said(thrown)}).`);
  }
  if (isAbsent(thrown) || /connection-timeout|Host is down|timed out/i.test(thrown.text)) {
    return new PorchlightError('unreachable');
  }
  return new PorchlightError('connect_failed', `The connection to the lamp could not be made (${said(thrown)}).`);
}

/** BlueZ's sentence for an ATT error that has no name of its own among its errors. */
const ATT_ERROR = /ATT error: (0x[0-9a-f]{2})/i;

/** Why an operation on a characteristic failed, in our codes. `isSilence` is not for here: silence costs the link. */
export function operationFailure(thrown: unknown, pairing: string): PorchlightError {
  if (!(thrown instanceof CallFailed)) return asIs(thrown, 'link_lost');
  if (isAbsent(thrown) || isServiceGone(thrown) || isBluez(thrown, 'NotConnected')) return lost(thrown);
  // Insufficient authentication or encryption: "Not paired"; insufficient authorization: NotAuthorized.
  if (isBluez(thrown, 'NotAuthorized') || /not paired|authenti|encrypt/i.test(thrown.text)) {
    return new PorchlightError('refused_by_light', `The lamp asks to be paired: ${pairing}`);
  }
  const refusals = ['NotPermitted', 'NotSupported', 'InvalidValueLength', 'InvalidOffset', 'InvalidArguments'];
  const att = ATT_ERROR.exec(thrown.text)?.[1];
  if (att !== undefined)
    return new PorchlightError('refused_by_light', `The lamp refused the command (ATT error ${att}).`);
  if (refusals.some((name) => isBluez(thrown, name))) {
    return new PorchlightError('refused_by_light', `The lamp refused the command (${said(thrown)}).`);
  }
  return lost(thrown);
}

const lost = (failed: CallFailed): PorchlightError =>
  new PorchlightError('link_lost', `The connection to the lamp broke (${said(failed)}).`);

const asIs = (thrown: unknown, code: 'connect_failed' | 'link_lost'): PorchlightError =>
  thrown instanceof PorchlightError ? thrown : new PorchlightError(code, undefined, { cause: thrown });
