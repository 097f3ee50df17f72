import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../../files/atomic-write.js';
import type { ContainerSpec } from '../engine.js';
import { type ContainerState, StateFile } from './container-state.js';
import { type Host, runtimeOf } from './host.js';
import { endProcesses } from './removal.js';
import { bundleConfig } from './runtime/bundle.js';
import { hostsFileContent, resolvConfContent } from './runtime/host-files.js';
import type { Step } from './steps.js';

/** A container that is being made. */
export interface Creation {
  host: Host;
  spec: ContainerSpec;
  file: StateFile;
}

export const processesDirectoryName = 'processes';

/** Begins a creation; nothing is on the disk yet. */
export function beginCreation(host: Host, handle: string, spec: ContainerSpec): Creation {
  const state: ContainerState = {
    version: 1,
    handle,
    phase: 'creating',
    bootId: host.bootId,
    createdAt: Date.now(),
    runtime: host.runtimes.runtime.name,
    env: spec.env ?? [],
    properties: { ...spec.properties },
    limits: { ...spec.limits },
    graceTimeMs: spec.graceTimeMs ?? 0,
    events: [],
    oomKillsSeen: 0,
    endedProcesses: {},
  };
  return { host, spec, file: new StateFile(join(host.depotDirectory, handle), state) };
}

/** The directory with a state file that says `creating`: whatever happens next, start-up will find and remove it. */
const directory: Step<Creation> = {
  name: 'directory',
  async run({ file }) {
    await mkdir(file.directory, { mode: 0o700 });
    await mkdir(join(file.directory, processesDirectoryName), { mode: 0o700 });
    await file.update(() => {});
  },
  async undo({ file }) {
    await file.close();
    await rm(file.directory, { recursive: true, force: true });
  },
};

const volume: Step<Creation> = {
  name: 'volume',
  async run({ host, spec, file }) {
    const { handle, limits } = file.state;
    file.state.volume = await host.volumes.create({
      handle,
      directory: file.directory,
      rootfs: spec.rootfs,
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
    const { handle } = file.state;
    file.state.network = await host.network.create({ handle, netIn: spec.netIn ?? [], netOut: spec.netOut ?? [] });
  },
  async undo({ host, file }) {
    if (file.state.network) await host.network.release(file.state.network);
  },
};

const bundle: Step<Creation> = {
  name: 'bundle',
  async run({ host, spec, file }) {
    const { handle, limits, volume, network } = file.state;
    if (!volume || !network) throw new Error(`container ${handle} has no volume or network yet`);
    const { runtimes, tools, cgroups } = host;
    const hostsFile = join(file.directory, 'hosts');
    const resolvConfFile = join(file.directory, 'resolv.conf');
    const config = bundleConfig({
      handle,
      rootfs: volume.mountPoint,
      networkNamespace: network.namespacePath,
      cgroupsPath: cgroups.pathFor(handle),
      cgroupsVersion: cgroups.version,
      limitsSwap: cgroups.limitsSwap,
      limits,
      initProgram: tools.catatonit,
      toolboxProgram: tools.busybox,
      hostsFile,
      resolvConfFile,
      bindMounts: spec.bindMounts ?? [],
      seccomp: runtimes.seccomp,
      ...(runtimes.compiledSeccomp !== undefined && { compiledSeccomp: runtimes.compiledSeccomp }),
    });
    const resolvConf = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
    const readableInside = { durable: false, mode: 0o644 };
    await Promise.all([
      writeFileAtomically(hostsFile, hostsFileContent(handle, network.containerIp), readableInside),
      writeFileAtomically(resolvConfFile, resolvConfContent(resolvConf, network.hostIp), readableInside),
      writeFileAtomically(join(file.directory, 'config.json'), JSON.stringify(config), { durable: false }),
    ]);
  },
};

const init: Step<Creation> = {
  name: 'init',
  async run({ host, file }) {
    file.state.init = await runtimeOf(host, file.state).run(file.state.handle, file.directory);
  },
  async undo({ host, file }) {
    await endProcesses(host, file.state);
    await runtimeOf(host, file.state).delete(file.state.handle);
    await host.cgroups.remove(file.state.handle);
  },
};

const bandwidth: Step<Creation> = {
  name: 'bandwidth',
  async run({ host, file }) {
    const { limits, network } = file.state;
    if (limits.bandwidth && network) await host.network.limitBandwidth(network, limits.bandwidth);
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
  [volume, network],
  [bundle],
  [init],
  [bandwidth],
  [activation],
];
