import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { ContainerSpec } from '../engine.js';
import { type ContainerState, StateFile } from './container-state.js';
import { confinementOf, type Host, idMapOf, runtimeOf } from './host.js';
import type { CgroupPlace, Image, NetworkLease } from './ports.js';
import { endProcesses, removeDirectory } from './removal.js';
import { bundleConfig } from './runtime/bundle.js';
import { userMounts } from './runtime/bundle-mounts.js';
import { hostsFileContent, resolvConfContent } from './runtime/host-files.js';
import type { Step } from './steps.js';
import { type IdMap, rootOutside } from './users/id-map.js';

/** A container that is being made. */
export interface Creation {
  host: Host;
  spec: ContainerSpec;
  /** Whoever began the creation keeps it until the end of it. */
  image: Image;
  file: StateFile;
  /** Of its processes, once it is prepared. */
  place?: CgroupPlace;
}

/** Whether a container gets a user namespace, and so a root file system with the owners that it needs. */
function hasUserNamespace(host: Host, spec: ContainerSpec): boolean {
  return host.runtimes.hasUserNamespaces && spec.privileged !== true;
}

/** As `idMapOf`, of a container to be made. */
export function idMapFor(host: Host, spec: ContainerSpec): { idMap?: IdMap } {
  return idMapOf({ hasUserNamespace: hasUserNamespace(host, spec), idMap: host.userNamespaces.idMap });
}

/** Begins a creation; nothing is on the disk yet. */
export function beginCreation(host: Host, handle: string, spec: ContainerSpec, image: Image): Creation {
  const state: ContainerState = {
    version: 1,
    handle,
    phase: 'creating',
    bootId: host.bootId,
    createdAt: Date.now(),
    runtime: host.runtimes.runtime.name,
    isPrivileged: spec.privileged ?? false,
    hasUserNamespace: hasUserNamespace(host, spec),
    idMap: host.userNamespaces.idMap,
    env: [...image.env, ...(spec.env ?? [])],
    properties: { ...spec.properties },
    limits: { ...spec.limits },
    graceTimeMs: spec.graceTimeMs ?? 0,
    events: [],
    oomKillsSeen: 0,
    peas: {},
    endedProcesses: {},
  };
  return { host, spec, image, file: new StateFile(host.layout.container(handle), state) };
}

/** Whatever happens next, start-up finds the directory and removes what was begun. */
const directory: Step<Creation> = {
  name: 'directory',
  async run({ file }) {
    // Runtimes pass through it as the container's root; what is secret in it is not readable.
    await mkdir(file.directory, { mode: 0o711 });
  },
  async undo({ host, file }) {
    await removeDirectory(host, file.state.handle);
  },
};

const stateFile: Step<Creation> = {
  name: 'state file',
  async run({ host, file }) {
    await mkdir(host.layout.processes(file.state.handle), { mode: 0o700 });
    await file.update(() => {});
  },
  undo: ({ file }) => file.close(),
};

const volume: Step<Creation> = {
  name: 'volume',
  async run({ host, image, file }) {
    const { handle, limits } = file.state;
    file.state.volume = await host.volumes.create({
      handle,
      directory: file.directory,
      image,
      ...limits.disk,
    });
  },
  async undo({ host, file }) {
    if (file.state.volume) await host.volumes.release(file.state.volume);
  },
};

const network: Step<Creation> = {
  name: 'network',
  async run({ host, spec, file }) {
    file.state.network = await host.network.create({
      handle: file.state.handle,
      ...(spec.network !== undefined && { network: spec.network }),
      netIn: [],
      netOut: [],
    });
  },
  async undo({ host, file }) {
    if (file.state.network) await host.network.release(file.state.network);
  },
};

const controlGroup: Step<Creation> = {
  name: 'control group',
  async run(creation) {
    const { handle, limits } = creation.file.state;
    creation.place = await creation.host.cgroups.place(handle, limits);
  },
  undo: ({ host, file }) => host.cgroups.remove(file.state.handle),
};

/** Not needed before the first process: it takes no longer than init does, and runs beside it. */
const openings: Step<Creation> = {
  name: 'openings',
  async run({ host, spec, file }) {
    const { state } = file;
    const { netIn = [], netOut = [] } = spec;
    if (state.network && netIn.length + netOut.length > 0) {
      state.network = await host.network.open(state.network, { netIn, netOut });
    }
    if (state.network && state.limits.bandwidth) {
      await host.network.limitBandwidth(state.network, state.limits.bandwidth);
    }
  },
};

const bundle: Step<Creation> = {
  name: 'bundle',
  async run({ host, spec, file, place }) {
    const { handle, volume, network, hasUserNamespace, idMap } = file.state;
    if (!volume || !network || !place) throw new Error(`container ${handle} has no volume, network or group yet`);
    const { cgroups } = host;
    const confinement = confinementOf(host, file.state);
    const hostsFile = join(file.directory, 'hosts');
    const resolvConfFile = join(file.directory, 'resolv.conf');
    const config = bundleConfig({
      handle,
      rootfs: host.depot.pathOf(volume.mountPoint),
      networkNamespace: network.namespacePath,
      ...(hasUserNamespace && { userNamespace: { path: userNamespaceOf(host, network), idMap } }),
      confinement,
      place,
      cgroupsVersion: cgroups.version,
      limitsSwap: cgroups.limitsSwap,
      programMounts: host.programMounts,
      hostsFile,
      resolvConfFile,
      bindMounts: await userMounts(spec.bindMounts ?? []),
    });
    const root = hasUserNamespace ? rootOutside : 0;
    const resolvConf = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
    // Nobody reads them before the state file says `active`, so they need not appear in one step.
    await Promise.all([
      writeFor(root, hostsFile, hostsFileContent(handle, network.containerIp, host.names)),
      writeFor(root, resolvConfFile, resolvConfContent(resolvConf, network.hostIp, host.names)),
      writeFile(join(file.directory, 'config.json'), JSON.stringify(config), { mode: 0o600 }),
    ]);
  },
};

/** The one that owns the container's network: both were made together. */
function userNamespaceOf(host: Host, network: NetworkLease): string {
  const path = host.userNamespaces.pathOf(basename(network.namespacePath));
  if (path === undefined) throw new Error(`the user namespace of ${network.namespacePath} is gone`);
  return path;
}

async function writeFor(root: number, path: string, content: string): Promise<void> {
  await writeFile(path, content, { mode: 0o644 });
  if (root !== 0) await chown(path, root, root);
}

const init: Step<Creation> = {
  name: 'init',
  async run({ host, file }) {
    const { handle, network } = file.state;
    file.state.init = await runtimeOf(host, file.state).run(handle, file.directory);
    // Init keeps its namespaces now.
    if (network) host.userNamespaces.close(basename(network.namespacePath));
  },
  async undo({ host, file }) {
    await endProcesses(host, file.state);
    await runtimeOf(host, file.state).delete(file.state.handle);
  },
};

const activation: Step<Creation> = {
  name: 'activation',
  run: ({ file }) =>
    file.update((state) => {
      state.phase = 'active';
    }),
};

/** How a container is made: stage after stage, the steps of a stage side by side. */
export const creationStages: Step<Creation>[][] = [
  [directory],
  [stateFile, volume, network, controlGroup],
  [bundle],
  [init, openings],
  [activation],
];
