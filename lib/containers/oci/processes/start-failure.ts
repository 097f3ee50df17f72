import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { resolveBeneath } from '../../../files/beneath.js';
import type { ProcessIdentity } from '../../../process/identity.js';
import { ProcessStartError } from '../supervisor/conmon.js';
import { rootOf } from '../users/container-files.js';

const anyExecuteBit = 0o111;

/**
 * Says why a process could not be started in words that do not depend on the runtime: the executable is a directory or
 * not executable, or the working directory is none (docs/protocol/containers.md §2.4). Other failures stay as they are.
 *
 * @param directory where the process should have started
 */
export async function explainStartFailure(
  init: ProcessIdentity,
  executable: string,
  directory: string,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof ProcessStartError)) return error;
  const directoryStatus = await statusIn(init, directory);
  if (directoryStatus && !directoryStatus.isDirectory()) {
    return new ProcessStartError(`chdir to cwd ("${directory}") failed: not a directory`, { cause: error });
  }
  if (!executable.includes('/')) return error;
  const status = await statusIn(init, posix.resolve(directory, executable));
  if (status?.isDirectory()) return new ProcessStartError(`exec: "${executable}": is a directory`, { cause: error });
  if (status && (status.mode & anyExecuteBit) === 0) {
    return new ProcessStartError(`exec: "${executable}": permission denied`, { cause: error });
  }
  return error;
}

async function statusIn(init: ProcessIdentity, path: string) {
  try {
    return await stat(await resolveBeneath(rootOf(init), path, 'stays'));
  } catch {
    return undefined;
  }
}
