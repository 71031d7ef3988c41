import type { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { PorchlightError } from '../errors.ts';
import type { Io, Program } from '../io.ts';
import { LightRows, renderLights } from './lights.ts';

export function registerDemo(root: Command, io: Io, program: Program): void {
  root
    .command('demo')
    .description(
      'Show the whole product on this machine: broker, authorization server, virtual lamps, the real Bluetooth stack.',
    )
    .option('--approve', 'approve the code by itself, as a person would in a browser')
    .option('--once', 'then send a few authorized commands, print what became of them, and end')
    .addHelpText(
      'after',
      `
Nothing leaves this machine, and nothing stays on it: the demo keeps its state in a temporary folder.
Without --approve, open the address that it prints in a browser and approve there.`,
    )
    .action(async (options: { approve?: true; once?: true }) => {
      const { runDemo } = await load();
      await runDemo({
        io,
        program,
        clock: systemClock,
        approve: options.approve === true,
        once: options.once === true,
        renderLights: (lights) => renderLights(LightRows.parse(lights), io.colours),
      });
    });
}

/** The demo's broker and authorization server are development packages: a gateway at somebody's home does not carry them. */
async function load(): Promise<typeof import('../demo/demo.ts')> {
  try {
    return await import('../demo/demo.ts');
  } catch (cause) {
    throw new PorchlightError(
      'not_available',
      'The demo needs the development packages, which are not installed here.',
      {
        hint: 'Run it from a checkout: npm ci && npm run demo',
        cause,
      },
    );
  }
}
