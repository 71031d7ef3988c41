import { MOST_VALUES } from '../limits.ts';
import type { RadioBackend, RadioRequest } from '../messages.ts';

type Members = Readonly<Record<string, unknown>>;

const isMembers = (raw: unknown): raw is Members => typeof raw === 'object' && raw !== null;
const isNumber = (raw: unknown): raw is number => typeof raw === 'number';
const isString = (raw: unknown): raw is string => typeof raw === 'string';

type Value = Extract<RadioRequest, { op: 'write' }>['values'][number];

const isValue = (raw: unknown): raw is Value =>
  isMembers(raw) &&
  isNumber(raw['at']) &&
  isString(raw['hex']) &&
  (raw['kind'] === 'request' || raw['kind'] === 'command');

function backendOf(raw: unknown): RadioBackend | undefined {
  if (!isMembers(raw)) return undefined;
  const { kind, adapter, address, bus } = raw;
  if (kind === 'hci' && isString(adapter)) return { kind, adapter };
  if (kind === 'dbus' && isString(adapter)) return { kind, adapter, ...(isString(bus) ? { bus } : {}) };
  if (kind === 'h4' && isString(address)) return { kind, address };
  return undefined;
}

/**
 * One request of the gateway, or undefined. By hand, because a schema library would add a third to this process's memory,
 * and the gateway is trusted: this only proves the shapes.
 */
export function parseRequest(raw: unknown): RadioRequest | undefined {
  if (!isMembers(raw)) return undefined;
  const { op, id, link, at } = raw;
  if (op === 'stop') return { op };
  if (op === 'start') {
    const backend = backendOf(raw['backend']);
    return backend === undefined ? undefined : { op, backend };
  }
  if (!isNumber(id)) return undefined;
  switch (op) {
    case 'write': {
      const { values } = raw;
      if (!isNumber(link) || !Array.isArray(values) || values.length > MOST_VALUES) return undefined;
      return values.every(isValue) ? { op, id, link, values } : undefined;
    }
    case 'ping':
      return { op, id };
    case 'read':
    case 'subscribe':
      return isNumber(link) && isNumber(at) ? { op, id, link, at } : undefined;
    case 'disconnect':
      return isNumber(link) ? { op, id, link } : undefined;
    case 'connect': {
      const { address, timeoutMs } = raw;
      return isString(address) && isNumber(timeoutMs) ? { op, id, address, timeoutMs } : undefined;
    }
    case 'cancel': {
      const { connect } = raw;
      return isNumber(connect) ? { op, id, connect } : undefined;
    }
    case 'listen': {
      const { on, only, silenceMs } = raw;
      if (typeof on !== 'boolean') return undefined;
      const patience = isNumber(silenceMs) ? { silenceMs } : {};
      if (only === undefined) return { op, id, on, ...patience };
      return Array.isArray(only) ? { op, id, on, only: only.filter(isString), ...patience } : undefined;
    }
    default:
      return undefined;
  }
}
