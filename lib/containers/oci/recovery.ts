import { readdir, rm } from 'node:fs/promises';
import { errorData } from '../../logging/logger.js';
import { isRunning } from '../../process/identity.js';
import { type ContainerState, readState, StateFile } from './container-state.js';
import type { Host } from './host.js';
import { DepotLayout } from './layout.js';
import { endProcesses, releaseHoldings, removeDirectory } from './removal.js';

/** What is done with a container that was found on the disk at start-up. */
export type Verdict = { action: 'adopt' } | { action: 'remove'; reason: string };

/** Facts about a container that its state file does not know. */
export interface Findings {
  bootId: string;
  initIsRunning: boolean;
}

/** Judges a container by its state file and the kernel, before its volume and network are asked. */
export function judge(state: ContainerState | undefined, findings: Findings): Verdict {
  if (state === undefined) return { action: 'remove', reason: 'it has no state' };
  if (state.phase === 'creating') return { action: 'remove', reason: 'its creation was cut short' };
  if (state.phase === 'destroying') return { action: 'remove', reason: 'its removal was cut short' };
  if (state.bootId !== findings.bootId) return { action: 'remove', reason: 'the host was started anew' };
  if (!findings.initIsRunning) return { action: 'remove', reason: 'its init process is gone' };
  return { action: 'adopt' };
}

/**
 * Reconciles the disk with the kernel at start-up: what lives and is complete is given back to be adopted, everything
 * else of ours, on the disk or in the kernel, is removed.
 */
export async function recover(host: Host): Promise<StateFile[]> {
  const handles = (await readdir(host.layout.run)).filter(DepotLayout.isHandle);
  // All are adopted before anything is removed: a removal may rewrite what containers share.
  const found = await findAll(host, handles);
  const lost = found.filter(({ verdict }) => verdict.action === 'remove');
  const adopted = found.flatMap(({ directory, state, verdict }) =>
    state && verdict.action === 'adopt' ? [new StateFile(directory, state)] : [],
  );
  await Promise.all(
    lost.map(async ({ handle, state, verdict }) => {
      host.logger.info('containers.recovery.remove', { handle, ...verdict });
      await removeHoldings(host, handle, state).catch((error: unknown) => {
        host.logger.warn('containers.recovery.remove-failed', { handle, ...errorData(error) });
      });
    }),
  );
  await reclaimStrays(host, adopted);
  // Only now: a creation that was cut short knew nothing of what it held, but left its directory to tell that it was.
  await Promise.all(lost.map(({ handle }) => removeDirectory(host, handle)));
  await removeStrayOutput(host, adopted);
  return adopted;
}

interface Found {
  handle: string;
  directory: string;
  state: ContainerState | undefined;
  verdict: Verdict;
}

/** One after the other, oldest first: where two claim the same port, the one that had it has it again. */
async function findAll(host: Host, handles: string[]): Promise<Found[]> {
  const read = await Promise.all(
    handles.map(async (handle) => {
      const directory = host.layout.container(handle);
      return { handle, directory, state: await readState(directory) };
    }),
  );
  read.sort((one, other) => (one.state?.createdAt ?? 0) - (other.state?.createdAt ?? 0));
  const found: Found[] = [];
  for (const { handle, directory, state } of read) {
    found.push({ handle, directory, state, verdict: await examine(host, state) });
  }
  return found;
}

async function examine(host: Host, state: ContainerState | undefined): Promise<Verdict> {
  const verdict = judge(state, {
    bootId: host.bootId,
    initIsRunning: state?.init !== undefined && isRunning(state.init),
  });
  if (verdict.action === 'remove' || !state) return verdict;
  if (!state.volume || !(await host.volumes.adopt(state.volume))) {
    return { action: 'remove', reason: 'its root file system is gone' };
  }
  if (!state.network || !(await host.network.adopt(state.network))) {
    return { action: 'remove', reason: 'its network is gone' };
  }
  return { action: 'adopt' };
}

async function removeHoldings(host: Host, handle: string, state: ContainerState | undefined): Promise<void> {
  // Not by init's number, which another process may have after a reboot: the control group tells what is ours.
  await endProcesses(host, { handle });
  await host.supervisor.endAll({
    handle,
    processesDirectory: host.layout.processes(handle),
    outputDirectory: host.layout.outputOf(handle),
  });
  if (state) await releaseHoldings(host, state);
}

/** Whatever carries our mark in the kernel or below the depot, and belongs to no adopted container. */
async function reclaimStrays(host: Host, adopted: StateFile[]): Promise<void> {
  const peas = adopted.flatMap(({ state }) => Object.values(state.peas));
  const handles = adopted.map((file) => file.state.handle);
  const known = new Set([...handles, ...peas.map(({ cgroup }) => cgroup)]);
  for (const handle of await host.cgroups.list()) {
    if (known.has(handle)) continue;
    await endProcesses(host, { handle });
    await host.cgroups.remove(handle);
  }
  const runtimeIds = new Set([...handles, ...peas.map(({ runtimeId }) => runtimeId)]);
  for (const runtime of host.runtimes.installed.values()) await runtime.deleteAllExcept(runtimeIds);
  const volumes = [...adopted.map(({ state }) => state), ...peas].flatMap(({ volume }) => volume ?? []);
  const networks = adopted.flatMap(({ state }) => (state.network ? [state.network] : []));
  await Promise.all([host.volumes.reclaim(volumes), host.network.reclaim(networks)]);
}

/** After a reboot the output is all that is left of a container. */
async function removeStrayOutput(host: Host, adopted: StateFile[]): Promise<void> {
  const known = new Set(adopted.map((file) => file.state.handle));
  const strays = (await readdir(host.layout.output)).filter((handle) => !known.has(handle));
  await Promise.all(strays.map((handle) => rm(host.layout.outputOf(handle), { recursive: true, force: true })));
}
