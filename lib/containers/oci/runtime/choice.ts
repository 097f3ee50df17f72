import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomically } from '../../../files/atomic-write.js';
import { errorData, type Logger } from '../../../logging/logger.js';
import { isRunning, signalProcess } from '../../../process/identity.js';
import type { Launcher } from '../../../process/launcher.js';
import { waitUntil } from '../../../process/wait.js';
import { HostRequirementError } from '../../errors.js';
import { findProgram, type HostTools, missingPrograms } from '../host-tools.js';
import type { Cgroups } from '../ports.js';
import { bundleConfig } from './bundle.js';
import { OciRuntime, type RuntimeName } from './oci-runtime.js';
import { type SeccompProfile, seccompProfile } from './seccomp.js';

export interface RuntimeChoiceOptions {
  wanted: 'auto' | RuntimeName;
  launcher: Launcher;
  /** `<depot>/@runtime` */
  directory: string;
  tools: HostTools;
  cgroups: Cgroups;
  logger: Logger;
}

export interface RuntimeChoice {
  /** Makes new containers. */
  runtime: OciRuntime;
  /** Every runtime installed here: a container stays with the one that made it. */
  installed: Map<RuntimeName, OciRuntime>;
  seccomp: SeccompProfile;
  /** The filter as crun compiled it for the kernel, base64; absent when it did not leave it. */
  compiledSeccomp?: string;
}

/** In order of preference: crun takes a third of runc's time (docs/protocol/containers.md §4.1). */
export const runtimeNames: RuntimeName[] = ['crun', 'runc'];

/**
 * Chooses the runtime by making a container with it.
 *
 * @throws HostRequirementError when the wanted one, or with `auto` none, is installed and works here
 */
export async function chooseRuntime(options: RuntimeChoiceOptions): Promise<RuntimeChoice> {
  const seccomp = seccompProfile();
  const installed = await installedRuntimes(options.directory, options.launcher);
  const candidates = options.wanted === 'auto' ? runtimeNames : [options.wanted];
  const present = candidates.flatMap((name) => installed.get(name) ?? []);
  if (present.length === 0) throw missingPrograms([candidates.join(' or ')], [candidates[0]!]);

  const failures: string[] = [];
  for (const runtime of present) {
    try {
      const compiledSeccomp = await probe(runtime, seccomp, options);
      options.logger.info('containers.runtime.chosen', { runtime: runtime.name });
      return { runtime, installed, seccomp, ...(compiledSeccomp !== undefined && { compiledSeccomp }) };
    } catch (error) {
      options.logger.warn('containers.runtime.unusable', { runtime: runtime.name, ...errorData(error) });
      failures.push(`${runtime.name}: ${(error as Error).message}`);
    }
  }
  throw new HostRequirementError(`no container runtime works on this host: ${failures.join('; ')}`);
}

async function installedRuntimes(directory: string, launcher: Launcher): Promise<Map<RuntimeName, OciRuntime>> {
  const installed = new Map<RuntimeName, OciRuntime>();
  for (const name of runtimeNames) {
    const program = await findProgram(name);
    if (program === undefined) continue;
    const runtime = new OciRuntime({ launcher, name, program, root: join(directory, name) });
    await runtime.prepare();
    installed.set(name, runtime);
  }
  return installed;
}

/** Makes and deletes a container with nothing but init in it. */
async function probe(
  runtime: OciRuntime,
  seccomp: SeccompProfile,
  { directory, tools, cgroups }: RuntimeChoiceOptions,
): Promise<string | undefined> {
  const handle = `probe-${process.pid}`;
  const bundle = join(directory, handle);
  try {
    await mkdir(join(bundle, 'rootfs'), { recursive: true, mode: 0o700 });
    await writeFileAtomically(join(bundle, 'empty'), '', { durable: false });
    const config = bundleConfig({
      handle,
      rootfs: join(bundle, 'rootfs'),
      networkNamespace: '/proc/self/ns/net',
      cgroupsPath: cgroups.pathFor(handle),
      cgroupsVersion: cgroups.version,
      limitsSwap: cgroups.limitsSwap,
      limits: { memoryBytes: 64 * 1024 * 1024, cpuShares: 2, maxPids: 8 },
      initProgram: tools.catatonit,
      toolboxProgram: tools.busybox,
      hostsFile: join(bundle, 'empty'),
      resolvConfFile: join(bundle, 'empty'),
      bindMounts: [],
      seccomp,
    });
    await writeFileAtomically(join(bundle, 'config.json'), JSON.stringify(config), { durable: false });
    const init = await runtime.run(handle, bundle);
    const compiled = await readFile(join(runtime.root, handle, 'seccomp.bpf')).catch(() => undefined);
    signalProcess(init, 'SIGKILL');
    await waitUntil(() => !isRunning(init), { timeoutMs: 10_000 });
    return compiled?.toString('base64');
  } finally {
    await runtime.delete(handle);
    await cgroups.remove(handle);
    await rm(bundle, { recursive: true, force: true });
  }
}
