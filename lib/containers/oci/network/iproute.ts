import { readdir } from 'node:fs/promises';
import { runHostProgram } from '../host-program.js';

/** Runs `ip` with commands for its batch mode on standard input: one process, whatever their number. */
export async function ip(args: string[], commands: string[]): Promise<void> {
  await runHostProgram('iproute2', 'ip', args, { input: `${commands.join('\n')}\n` });
}

/** As `ip`, for traffic control. */
export async function tc(args: string[], commands: string[]): Promise<void> {
  await runHostProgram('iproute2', 'tc', args, { input: `${commands.join('\n')}\n` });
}

/** Names of the host's links. Reads a directory, starts no process. */
export function linkNames(): Promise<string[]> {
  return entriesOf('/sys/class/net');
}

/** Names in a directory; none when it does not exist. */
export async function entriesOf(path: string): Promise<string[]> {
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}
