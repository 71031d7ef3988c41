import type { Command } from 'commander';
import * as z from 'zod';
import { PorchlightError } from '../errors.ts';
import type { Io } from '../io.ts';
import { printable } from '../log.ts';
import { paint, table } from '../prompt/table.ts';
import { askDaemon } from '../web/client.ts';
import { configOption, socketsOf } from './sockets.ts';

const LightRow = z.object({
  id: z.string(),
  name: z.string().optional(),
  address: z.string(),
  family: z.string().optional(),
  model: z.string().optional(),
  available: z.boolean(),
  rssi: z.number().optional(),
  problem: z.object({ message: z.string(), hint: z.string() }).optional(),
  state: z.object({
    state: z.enum(['ON', 'OFF']).nullable(),
    confidence: z.string(),
    brightness: z.number().optional(),
    color: z.object({ r: z.number(), g: z.number(), b: z.number() }).optional(),
    color_mode: z.string().optional(),
    color_temp: z.number().optional(),
    effect: z.string().optional(),
  }),
});
type LightRow = z.infer<typeof LightRow>;
/** What `GET /api/lights` answers; more may be there. */
export const LightRows = z.array(LightRow);

export function registerLights(root: Command, io: Io): void {
  configOption(
    root
      .command('lights')
      .description('List the configured lamps: model, state and how sure it is, signal.')
      .option('--json', 'one JSON document for programs'),
  ).action(async (options: { json?: true; config?: string }) => {
    const { body } = await askDaemon(await socketsOf(io, options.config), 'GET', '/api/lights', { signal: io.signal });
    if (options.json) return io.stdout(`${JSON.stringify(body, undefined, 2)}\n`);
    const lights = LightRows.safeParse(body);
    if (!lights.success)
      throw new PorchlightError('daemon_unreachable', 'The gateway that answers is of another version.');
    if (lights.data.length === 0) return io.stdout('No lamps are configured yet: add them under "lights:".\n');
    io.stdout(`${renderLights(lights.data, io.colours)}\n`);
  });
}

/** The lamps as a table for people; also what the demo shows at its end. */
export function renderLights(lights: readonly LightRow[], colours: boolean): string {
  const { bold, dim, green } = paint(colours);
  const rows = lights.map((light) => [
    light.id,
    light.family === undefined
      ? dim('not heard yet')
      : light.model === undefined
        ? light.family
        : `${light.family} ${printable(light.model, 30)}`,
    light.state.state === 'ON' ? green('ON') : (light.state.state ?? 'unknown'),
    describe(light.state),
    light.state.confidence,
    light.available ? (light.rssi === undefined || light.rssi === 127 ? 'online' : `${light.rssi} dBm`) : 'offline',
  ]);
  const problems = lights.flatMap(({ id, problem }) =>
    problem === undefined ? [] : [`\n${id}: ${printable(problem.message)} ${printable(problem.hint)}`],
  );
  return [table([['LAMP', 'MODEL', 'STATE', 'SHOWS', 'CONFIDENCE', 'SIGNAL'].map(bold), ...rows]), ...problems].join(
    '\n',
  );
}

function describe(state: LightRow['state']): string {
  if (state.state !== 'ON') return '';
  const parts: string[] = [];
  if (state.effect !== undefined) parts.push(printable(state.effect, 30));
  else if (state.color_mode === 'color_temp' && state.color_temp !== undefined) parts.push(`${state.color_temp} K`);
  else if (state.color_mode === 'white') parts.push('white');
  else if (state.color !== undefined) {
    const { r, g, b } = state.color;
    parts.push(`#${[r, g, b].map((channel) => channel.toString(16).padStart(2, '0')).join('')}`);
  }
  if (state.brightness !== undefined) parts.push(`${Math.round((state.brightness / 255) * 100)} %`);
  return parts.join(', ');
}
