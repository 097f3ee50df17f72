import { chown, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { errorData, type Logger } from '../../../logging/logger.js';
import { isRunning, signalProcess } from '../../../process/identity.js';
import type { Launcher } from '../../../process/launcher.js';
import { waitUntil } from '../../../process/wait.js';
import { HostRequirementError } from '../../errors.js';
import { endGroup } from '../cgroups/ending.js';
import { findProgram, type HostTools, missingPrograms } from '../host-tools.js';
import type { Cgroups } from '../ports.js';
import { rootOutside } from '../users/id-map.js';
import type { UserNamespaces } from '../users/user-namespaces.js';
import { bundleConfig, type Confinement } from './bundle.js';
import type { BundleMount } from './bundle-mounts.js';
import { availableCapabilities } from './capabilities.js';
import { OciRuntime, type RuntimeName } from './oci-runtime.js';
import { seccompProfile } from './seccomp.js';

export interface RuntimeChoiceOptions {
  wanted: 'auto' | RuntimeName;
  /** What a call of the runtime may take. */
  timeoutMs: number;
  launcher: Launcher;
  /** The runtimes' own state. */
  directory: string;
  programMounts: BundleMount[];
  /** Where a container is made to see what works. */
  probeDirectory: string;
  /** Absent: containers get none. */
  userNamespaces?: UserNamespaces;
  /** A runtime that cannot use them is passed over. */
  demandsUserNamespaces: boolean;
  tools: HostTools;
  cgroups: Cgroups;
  logger: Logger;
}

export interface RuntimeChoice {
  /** Makes new containers. */
  runtime: OciRuntime;
  /** Every runtime installed here: a container stays with the one that made it. */
  installed: Map<RuntimeName, OciRuntime>;
  /** Whether unprivileged containers get a user namespace. */
  hasUserNamespaces: boolean;
  /** What unprivileged processes are confined by. */
  confinement: Confinement;
}

/** In order of preference: crun takes a third of runc's time (docs/protocol/containers.md §4.1). */
export const runtimeNames: RuntimeName[] = ['crun', 'runc'];

/**
 * Chooses the runtime by making a container with it. Without a user namespace only when no runtime can make one with
 * it, and not without a warning; never when they are demanded.
 *
 * @throws HostRequirementError when the wanted one, or with `auto` none, is installed and works here
 */
export async function chooseRuntime(options: RuntimeChoiceOptions): Promise<RuntimeChoice> {
  const confinement: Confinement = {
    isPrivileged: false,
    noNewPrivileges: false,
    capabilities: availableCapabilities(),
    seccomp: seccompProfile(),
  };
  const installed = await installedRuntimes(options);
  const candidates = options.wanted === 'auto' ? runtimeNames : [options.wanted];
  const present = candidates.flatMap((name) => installed.get(name) ?? []);
  if (present.length === 0) throw missingPrograms([candidates.join(' or ')], [candidates[0]!]);

  const failures: string[] = [];
  const ways = options.userNamespaces ? [true, ...(options.demandsUserNamespaces ? [] : [false])] : [false];
  for (const hasUserNamespaces of ways) {
    for (const runtime of present) {
      try {
        const compiledSeccomp = await probe(runtime, confinement, hasUserNamespaces, options);
        options.logger.info('containers.runtime.chosen', { runtime: runtime.name, hasUserNamespaces });
        const compiled = compiledSeccomp !== undefined && { compiledSeccomp };
        return { runtime, installed, hasUserNamespaces, confinement: { ...confinement, ...compiled } };
      } catch (error) {
        options.logger.warn('containers.runtime.unusable', {
          runtime: runtime.name,
          hasUserNamespaces,
          ...errorData(error),
        });
        failures.push(`${runtime.name}: ${(error as Error).message}`);
      }
    }
  }
  throw new HostRequirementError(`no container runtime works on this host: ${failures.join('; ')}`);
}

async function installedRuntimes(options: RuntimeChoiceOptions): Promise<Map<RuntimeName, OciRuntime>> {
  const { launcher, directory, tools, timeoutMs } = options;
  const installed = new Map<RuntimeName, OciRuntime>();
  for (const name of runtimeNames) {
    const program = await findProgram(name);
    if (program === undefined) continue;
    const runtime = new OciRuntime({
      launcher,
      name,
      program,
      toolbox: tools.busybox,
      root: join(directory, name),
      timeoutMs,
    });
    await runtime.prepare();
    installed.set(name, runtime);
  }
  return installed;
}

/** Makes and deletes a container with nothing but init in it. */
async function probe(
  runtime: OciRuntime,
  confinement: Confinement,
  hasUserNamespace: boolean,
  { probeDirectory: bundle, programMounts, cgroups, userNamespaces }: RuntimeChoiceOptions,
): Promise<string | undefined> {
  const handle = `probe-${process.pid}`;
  try {
    const keeper = hasUserNamespace ? await userNamespaces?.open(handle) : undefined;
    await mkdir(join(bundle, 'rootfs'), { recursive: true, mode: 0o711 });
    if (keeper !== undefined) await chown(join(bundle, 'rootfs'), rootOutside, rootOutside);
    await writeFileAtomically(join(bundle, 'empty'), '', { durable: false });
    const config = bundleConfig({
      handle,
      rootfs: join(bundle, 'rootfs'),
      networkNamespace: keeper === undefined ? '/proc/self/ns/net' : `/proc/${keeper}/ns/net`,
      ...(keeper !== undefined &&
        userNamespaces && { userNamespace: { path: `/proc/${keeper}/ns/user`, idMap: userNamespaces.idMap } }),
      confinement,
      place: await cgroups.place(handle, { memoryBytes: 64 * 1024 * 1024, cpuShares: 2, maxPids: 8 }),
      cgroupsVersion: cgroups.version,
      limitsSwap: cgroups.limitsSwap,
      programMounts,
      hostsFile: join(bundle, 'empty'),
      resolvConfFile: join(bundle, 'empty'),
      bindMounts: [],
    });
    await writeFileAtomically(join(bundle, 'config.json'), JSON.stringify(config), { durable: false });
    const init = await runtime.run(handle, bundle);
    const compiled = await readFile(join(runtime.root, handle, 'seccomp.bpf')).catch(() => undefined);
    signalProcess(init, 'SIGKILL');
    await waitUntil(() => !isRunning(init), { timeoutMs: 10_000 });
    return compiled?.toString('base64');
  } finally {
    userNamespaces?.close(handle);
    // A runtime that did not end in time may have started init.
    await endGroup(cgroups, handle);
    await runtime.delete(handle);
    await cgroups.remove(handle);
    await rm(bundle, { recursive: true, force: true });
  }
}
