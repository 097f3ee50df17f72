import { rm } from 'node:fs/promises';
import { isRunning, signalProcess } from '../../process/identity.js';
import { waitUntil } from '../../process/wait.js';
import { endGroup } from './cgroups/ending.js';
import type { ContainerState } from './container-state.js';
import { type Host, runtimeOf } from './host.js';
import { releasePea } from './peas/pea.js';

const deathPatienceMs = 10_000;

/**
 * Kills init, and with it everything in the container; the kernel does the rest. Resolves when no process is left.
 *
 * @throws when something in the container does not die
 */
export async function endProcesses(host: Host, container: Pick<ContainerState, 'handle' | 'init'>): Promise<void> {
  const { handle, init } = container;
  if (init && signalProcess(init, 'SIGKILL')) {
    await waitUntil(() => !isRunning(init), { timeoutMs: deathPatienceMs, firstPauseMs: 0.5 });
  }
  // What is not below init: a process that was just joining, or a creation that was cut short.
  if (await endGroup(host.cgroups, handle)) return;
  throw new Error(`processes of container ${handle} do not end`);
}

/** What a container holds besides its directory; its processes must be dead. May be repeated after a failure. */
export async function releaseHoldings(host: Host, state: ContainerState): Promise<void> {
  const { handle, volume, network, peas } = state;
  for (const [id, pea] of Object.entries(peas)) await releasePea(host, state, id, pea);
  await runtimeOf(host, state).delete(handle);
  const releases = await Promise.allSettled([
    host.cgroups.remove(handle),
    volume && host.volumes.release(volume),
    network && host.network.release(network),
  ]);
  const failure = releases.find((result) => result.status === 'rejected');
  if (failure) throw new Error(`cannot release what container ${handle} holds`, { cause: failure.reason });
}

/** Removes a container's directories; the one that goes last is the last thing that tells of it. */
export async function removeDirectory(host: Host, handle: string): Promise<void> {
  await rm(host.layout.outputOf(handle), { recursive: true, force: true });
  await rm(host.layout.container(handle), { recursive: true, force: true });
}
