// Loaded into a daemon by `node --import`: says over a socket what the process holds, after a full garbage collection.
import { createServer } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const path = process.env.PORCHLIGHT_PROBE;
// The daemon's own children must not listen there too.
if (path !== undefined && process.send === undefined) {
  setFlagsFromString('--expose_gc');
  const gc = runInNewContext('gc');
  const server = createServer((socket) => {
    gc();
    gc();
    const resources = {};
    for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
    socket.end(
      JSON.stringify({ heap: process.memoryUsage().heapUsed, external: process.memoryUsage().external, resources }),
    );
  });
  server.listen(path);
  server.unref();
}
