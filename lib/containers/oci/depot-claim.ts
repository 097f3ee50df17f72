import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { identifyProcess, isRunning, type ProcessIdentity } from '../../process/identity.js';
import { HostRequirementError } from '../errors.js';

const holderSchema = z.object({ pid: z.number(), startTime: z.number() });
/** Each goes away with an engine that has just ended, or loses to one that has just begun. */
const mostAttempts = 10;

/**
 * The right to work in a depot: two engines would each take for strays what belongs to the other. It ends with the
 * process that has it, however that ends.
 */
export class DepotClaim {
  private constructor(private readonly path: string) {}

  /**
   * @param path file that tells of the holder
   * @param depot for the error
   * @throws HostRequirementError naming the process that has it
   */
  static async take(path: string, depot: string): Promise<DepotClaim> {
    const own = `${path}-${process.pid}`;
    await writeFile(own, JSON.stringify(identifyProcess(process.pid)), { mode: 0o600 });
    try {
      for (let attempt = 0; attempt < mostAttempts; attempt += 1) {
        if (await isLinked(own, path)) return new DepotClaim(path);
        const holder = await holderIn(path);
        if (holder && isRunning(holder) && holder.pid !== process.pid) {
          throw new HostRequirementError(`the depot ${depot} is in use by process ${holder.pid}: stop that one first`);
        }
        await removeStale(path, holder);
      }
      throw new HostRequirementError(`the depot ${depot} is being taken by others again and again`);
    } finally {
      await rm(own, { force: true });
    }
  }

  /** Idempotent. */
  async release(): Promise<void> {
    const holder = await holderIn(this.path);
    if (holder?.pid === process.pid) await rm(this.path, { force: true });
  }
}

/** False when somebody else has left a file there. */
async function isLinked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function holderIn(path: string): Promise<ProcessIdentity | undefined> {
  try {
    return holderSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** Takes away what a dead engine left, and puts it back when it was another's by then. */
async function removeStale(path: string, stale: ProcessIdentity | undefined): Promise<void> {
  const aside = `${path}-${process.pid}-stale`;
  await rename(path, aside).catch(() => {});
  const taken = await holderIn(aside);
  if (taken && taken.pid !== stale?.pid) await isLinked(aside, path);
  await rm(aside, { force: true });
}
