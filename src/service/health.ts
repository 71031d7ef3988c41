import { constants } from 'node:fs';
import { access } from 'node:fs/promises';

/**
 * A check for the watchdog: the event loop turns (or this would not run), a file operation comes back, and the state
 * directory may be written to. It writes nothing: it runs every few seconds for years, perhaps on an SD card.
 */
export function stateDirectoryAnswers(directory: string): () => Promise<boolean> {
  return async () => {
    try {
      await access(directory, constants.W_OK | constants.X_OK);
      return true;
    } catch {
      return false; // gone, read-only, or not ours any more: the start would refuse it too
    }
  };
}
