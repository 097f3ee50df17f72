import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerSpec } from '../engine.js';
import { type ContainerState, StateFile } from './container-state.js';
import { type Host, runtimeOf } from './host.js';
import type { Image } from './ports.js';
import { endProcesses, removeDirectory } from './removal.js';
import { bundleConfig } from './runtime/bundle.js';
import { hostsFileContent, resolvConfContent } from './runtime/host-files.js';
import type { Step } from './steps.js';

/** A container that is being made. */
export interface Creation {
  host: Host;
  spec: ContainerSpec;
  /** Whoever began the creation keeps it until the end of it. */
  image: Image;
  file: StateFile;
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
    env: [...image.env, ...(spec.env ?? [])],
    properties: { ...spec.properties },
    limits: { ...spec.limits },
    graceTimeMs: spec.graceTimeMs ?? 0,
    events: [],
    oomKillsSeen: 0,
    endedProcesses: {},
  };
  return { host, spec, image, file: new StateFile(host.layout.container(handle), state) };
}

/** Whatever happens next, start-up finds the directory and removes what was begun. */
const directory: Step<Creation> = {
  name: 'directory',
  async run({ file }) {
    await mkdir(file.directory, { mode: 0o700 });
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

/** Not needed before the first process: it takes no longer than init does, and runs beside it. */
const openings: Step<Creation> = {
  name: 'openings',
  async run({ host, spec, file }) {
    const { state } = file;
    for (const request of spec.netIn ?? []) {
      if (state.network) state.network = await host.network.netIn(state.network, request);
    }
    if (state.network && spec.netOut?.length) state.network = await host.network.netOut(state.network, spec.netOut);
    if (state.network && state.limits.bandwidth) {
      await host.network.limitBandwidth(state.network, state.limits.bandwidth);
    }
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
    const cpuQuota = limits.cpuShares === undefined ? undefined : cgroups.cpuQuota(limits.cpuShares);
    const config = bundleConfig({
      handle,
      rootfs: volume.mountPoint,
      networkNamespace: network.namespacePath,
      cgroupsPath: cgroups.pathFor(handle),
      cgroupsVersion: cgroups.version,
      limitsSwap: cgroups.limitsSwap,
      limits,
      ...(cpuQuota && { cpuQuota }),
      initProgram: tools.catatonit,
      toolboxProgram: tools.busybox,
      hostsFile,
      resolvConfFile,
      bindMounts: spec.bindMounts ?? [],
      seccomp: runtimes.seccomp,
      ...(runtimes.compiledSeccomp !== undefined && { compiledSeccomp: runtimes.compiledSeccomp }),
    });
    const resolvConf = await readFile('/etc/resolv.conf', 'utf8').catch(() => '');
    // Nobody reads them before the state file says `active`, so they need not appear in one step.
    await Promise.all([
      writeFile(hostsFile, hostsFileContent(handle, network.containerIp, host.names), { mode: 0o644 }),
      writeFile(resolvConfFile, resolvConfContent(resolvConf, network.hostIp, host.names), { mode: 0o644 }),
      writeFile(join(file.directory, 'config.json'), JSON.stringify(config), { mode: 0o600 }),
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
  [stateFile, volume, network],
  [bundle],
  [init, openings],
  [activation],
];
