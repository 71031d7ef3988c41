// Benchmarks: `npm run bench -- NAME`. Each runs the daemon beside a baseline in one run, and prints ratios; nothing is judged.
const benches = { latency: () => import('./latency.js') };

const [name, ...args] = process.argv.slice(2);
const load = benches[name ?? ''];
if (load === undefined) {
  process.stderr.write(`Which one? ${Object.keys(benches).join(', ')}: npm run bench -- latency\n`);
  process.exitCode = 64;
} else {
  const { bench } = await load();
  await bench(args);
}
