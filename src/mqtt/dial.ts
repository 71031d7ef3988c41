import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { connect as connectMqtt, type IClientOptions, MqttClient } from 'mqtt';
import { writeToStream } from 'mqtt-packet';

// mqtt.js would build a table of all 65,536 two-byte numbers at its first packet: 8 MB and 30 ms, to save a small allocation.
writeToStream.cacheNumbers = false;

/** Where the broker is, and how it is known to be the right one. */
export interface Broker {
  /** mqtt:, mqtts:, ws: or wss:. */
  readonly url: URL;
  /** PEM: the only authorities that are trusted; without it those that Node knows. */
  readonly ca?: string;
  /** PEM: what this gateway shows. */
  readonly cert?: string;
  readonly key?: string;
}

/** Host and port, for people: never the credentials or the query of the URL. */
export function nameOf(broker: Broker): string {
  return `${broker.url.hostname}:${portOf(broker.url)}`;
}

const PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883, 'ws:': 80, 'wss:': 443 };

function portOf(url: URL): number {
  return url.port === '' ? (PORTS[url.protocol] ?? 1883) : Number(url.port);
}

/**
 * A client of mqtt.js that is connecting to the broker, on a socket without Nagle's algorithm: together with delayed
 * acknowledgements that would hold back each QoS 1 exchange by about 40 ms, and mqtt.js never turns it off.
 * TLS is verified always: certificate chain and host name. Throws at once when a certificate or key cannot be read.
 */
export function dial(broker: Broker, options: IClientOptions, maxMessage: number): MqttClient {
  const { url, ca, cert, key } = broker;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = portOf(url);
  const trust = {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  if (url.protocol === 'ws:' || url.protocol === 'wss:') {
    // The package `ws` sets TCP_NODELAY on every socket by itself.
    const protocol = url.protocol === 'ws:' ? 'ws' : 'wss';
    const wsOptions = { ...(protocol === 'wss' ? trust : {}), maxPayload: maxMessage, perMessageDeflate: false };
    return connectMqtt({ ...options, protocol, hostname: host, port, path: `${url.pathname}${url.search}`, wsOptions });
  }
  // The sockets are made here and not by mqtt.js, which would take a proxy from the environment.
  const socket =
    url.protocol === 'mqtts:'
      ? connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...trust })
      : connectTcp({ host, port });
  socket.once('connect', () => socket.setNoDelay(true));
  return new MqttClient(() => socket, options);
}
