import { createHash } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning, type ProcessIdentity, signalProcess } from '../../../process/identity.js';
import { waitUntil } from '../../../process/wait.js';
import type { ProcessSpec } from '../../engine.js';
import type { ContainerState, PeaState, StateFile } from '../container-state.js';
import { confinementOf, type Host, idMapOf, runtimeOf } from '../host.js';
import { userMounts } from '../runtime/bundle-mounts.js';
import { peaConfig } from './pea-bundle.js';

const deathPatienceMs = 10_000;
const idLength = 24;

/** What the process of a pea starts from. */
export interface PeaGround {
  /** The pea's init on the host. */
  init: ProcessIdentity;
  /** `NAME=value` entries of its image. */
  env: string[];
  /** Where the process starts that is told nothing else. */
  workingDirectory: string;
}

/**
 * Makes what a pea needs: a runtime container beside the one it belongs to, with an image, mounts and an init of its
 * own, in which its process can then be started like any other. Nothing is left when it fails.
 */
export async function makePea(host: Host, file: StateFile, id: string, spec: ProcessSpec): Promise<PeaGround> {
  const { state } = file;
  const runtimeId = runtimeIdOf(state.handle, id);
  const pea: PeaState = { runtimeId, cgroup: spec.limits ? runtimeId : `${state.handle}/${id}`, oomKillsSeen: 0 };
  await file.update(({ peas }) => {
    peas[id] = pea;
  });
  try {
    const directory = join(host.layout.peas(state.handle), id);
    await mkdir(directory, { recursive: true, mode: 0o711 });
    const image = await host.images.acquire(spec.image, idMapOf(state));
    try {
      pea.volume = await host.volumes.create({ handle: runtimeId, directory, image });
    } finally {
      host.images.release(image.layers);
    }
    await file.update(() => {});
    await writeBundle(host, state, directory, pea, spec);
    const init = await runtimeOf(host, state).run(runtimeId, directory);
    await file.update(() => {
      pea.init = init;
    });
    return { init, env: image.env, workingDirectory: image.workingDirectory ?? '/' };
  } catch (error) {
    await removePea(host, file, id);
    await file.update(({ peas }) => {
      delete peas[id];
    });
    throw error;
  }
}

/**
 * Ends a pea and gives back what it holds; nothing when there is none of that id. What the runtime called it stays
 * known: the files of its process are named after it.
 */
export async function removePea(host: Host, file: StateFile, id: string): Promise<void> {
  const pea = file.state.peas[id];
  if (pea === undefined) return;
  await endPea(host, pea);
  await releasePea(host, file.state, id, pea);
  await file.update(() => {
    delete pea.volume;
    delete pea.init;
  });
}

/** Gives back what an ended pea holds. May be repeated after a failure. */
export async function releasePea(host: Host, state: ContainerState, id: string, pea: PeaState): Promise<void> {
  await runtimeOf(host, state).delete(pea.runtimeId);
  await host.cgroups.remove(pea.cgroup);
  if (pea.volume) await host.volumes.release(pea.volume);
  await rm(join(host.layout.peas(state.handle), id), { recursive: true, force: true });
}

/** Kills all of it: it shares the container's process namespace, so that its init takes nobody along. */
async function endPea(host: Host, { cgroup, init }: PeaState): Promise<void> {
  const areGone = async () => {
    const isEmpty = (await host.cgroups.processes(cgroup)).length === 0;
    if (isEmpty && (init === undefined || !isRunning(init))) return true;
    await host.cgroups.signalAll(cgroup, 'SIGKILL', []);
    if (init) signalProcess(init, 'SIGKILL');
    return false;
  };
  if (await waitUntil(areGone, { timeoutMs: deathPatienceMs, firstPauseMs: 1 })) return;
  throw new Error('processes of a pea do not end');
}

/** Names of containers may be as long as a file's, and a runtime wants one name for both. */
function runtimeIdOf(handle: string, id: string): string {
  return `pea-${createHash('sha256').update(`${handle}\0${id}`).digest('hex').slice(0, idLength)}`;
}

async function writeBundle(
  host: Host,
  state: ContainerState,
  directory: string,
  pea: PeaState,
  spec: ProcessSpec,
): Promise<void> {
  const { cgroups, layout } = host;
  if (!state.init || !pea.volume) throw new Error(`container ${state.handle} is not complete`);
  const container = layout.container(state.handle);
  const config = peaConfig({
    rootfs: host.depot.pathOf(pea.volume.mountPoint),
    init: state.init.pid,
    ...idMapOf(state),
    confinement: confinementOf(host, state),
    place: await cgroups.place(pea.cgroup, spec.limits ?? {}),
    cgroupsVersion: cgroups.version,
    limitsSwap: cgroups.limitsSwap,
    programMounts: host.programMounts,
    hostsFile: join(container, 'hosts'),
    resolvConfFile: join(container, 'resolv.conf'),
    bindMounts: await userMounts(spec.bindMounts ?? []),
  });
  await writeFile(join(directory, 'config.json'), JSON.stringify(config), { mode: 0o600 });
}
