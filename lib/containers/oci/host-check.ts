import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { realPathOf } from '../../files/real-path.js';
import { silentLogger } from '../../logging/logger.js';
import type { ContainerEngine } from '../engine.js';
import { findProgram, programPackages } from './host-tools.js';
import { createOciEngine, type OciEngineOptions } from './oci-engine.js';
import { toolboxPathInContainer } from './runtime/bundle-mounts.js';
import { runtimeNames } from './runtime/choice.js';
import type { RuntimeName } from './runtime/oci-runtime.js';

/** What was found out about one thing that the engine needs of its host. */
export interface HostFinding {
  /** `program conmon`, `runtime crun` */
  subject: string;
  /** `missing`: not installed; `fails`: there, but does not work here. */
  state: 'ok' | 'missing' | 'fails';
  /** Where it is, what it costs, or why it fails. */
  detail: string;
  /** The engine works without it; what is lost then. */
  optional?: string;
  /** Command that brings it. */
  remedy?: string;
}

/** Programs that are asked for only when they are needed, with what is lost without. */
const optionalPrograms: Record<string, { package: string; loss: string }> = {
  skopeo: { package: 'skopeo', loss: 'images from registries' },
  setfattr: { package: 'attr', loss: 'extended attributes of files that are streamed in' },
  tc: { package: 'iproute2', loss: 'bandwidth limits' },
  resize2fs: { package: 'e2fsprogs', loss: 'disk limits that grow' },
};

const megabyte = 1024 * 1024;

/**
 * Tries out what the engine needs on this host: its programs, and with each runtime a real container from its creation
 * to its end, in a depot of its own beside the given one. Takes some seconds; leaves nothing.
 */
export async function checkHost(options: Omit<OciEngineOptions, 'logger'>): Promise<HostFinding[]> {
  const findings = await checkPrograms();
  if (findings.some(({ state, optional }) => state !== 'ok' && optional === undefined)) return findings;
  for (const runtime of runtimeNames) findings.push(await checkRuntime(runtime, options));
  return findings;
}

/** Whether the engine can run here: every needed program is there, and one of the runtimes works. */
export function isUsable(findings: HostFinding[]): boolean {
  const runtimes = findings.filter(({ subject }) => subject.startsWith('runtime '));
  const others = findings.filter((finding) => !runtimes.includes(finding) && finding.optional === undefined);
  return others.every(({ state }) => state === 'ok') && runtimes.some(({ state }) => state === 'ok');
}

async function checkPrograms(): Promise<HostFinding[]> {
  const needed = Object.entries(programPackages).map(([name, debianPackage]) => checkProgram(name, debianPackage));
  const optional = Object.entries(optionalPrograms).map(async ([name, { package: debianPackage, loss }]) => ({
    ...(await checkProgram(name, debianPackage)),
    optional: loss,
  }));
  const user: HostFinding =
    process.geteuid?.() === 0
      ? { subject: 'user', state: 'ok', detail: 'root' }
      : { subject: 'user', state: 'fails', detail: 'containers need root', remedy: 'run this as root' };
  return [user, ...(await Promise.all([...needed, ...optional]))];
}

async function checkProgram(name: string, debianPackage: string): Promise<HostFinding> {
  const path = await findProgram(name);
  const subject = `program ${name}`;
  if (path !== undefined) return { subject, state: 'ok', detail: path };
  return { subject, state: 'missing', detail: 'not installed', remedy: `apt-get install ${debianPackage}` };
}

async function checkRuntime(runtime: RuntimeName, options: Omit<OciEngineOptions, 'logger'>): Promise<HostFinding> {
  const subject = `runtime ${runtime}`;
  if ((await findProgram(runtime)) === undefined) {
    return { subject, state: 'missing', detail: 'not installed', remedy: `apt-get install ${runtime}` };
  }
  const depot = realPathOf(options.depotDirectory);
  await mkdir(dirname(depot), { recursive: true });
  const scratch = await mkdtemp(join(dirname(depot), 'check-'));
  let engine: ContainerEngine | undefined;
  try {
    engine = createOciEngine({
      ...options,
      depotDirectory: join(scratch, 'depot'),
      runtime,
      spares: 0,
      logger: silentLogger,
    });
    await engine.start();
    return { subject, state: 'ok', detail: await tryContainer(engine, join(scratch, 'rootfs')) };
  } catch (error) {
    return { subject, state: 'fails', detail: (error as Error).message };
  } finally {
    await engine?.release();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The life of a container with network, memory limit and disk limit; tells what each part of it takes. */
async function tryContainer(engine: ContainerEngine, rootfs: string): Promise<string> {
  await mkdir(rootfs, { mode: 0o755 });
  const costs: string[] = [];
  const timed = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    const begun = performance.now();
    const result = await work();
    costs.push(`${what} ${Math.round(performance.now() - begun)} ms`);
    return result;
  };
  const container = await timed('create', () =>
    engine.create({ rootfs, limits: { memoryBytes: 64 * megabyte, disk: { bytes: 16 * megabyte } }, netIn: [{}] }),
  );
  const exitStatus = await timed('run', async () => {
    const process = await container.run({ path: toolboxPathInContainer, args: ['true'] });
    return process.wait();
  });
  if (exitStatus !== 0) throw new Error(`a process that should succeed ended with ${exitStatus}`);
  await timed('destroy', () => engine.destroy(container.handle));
  return costs.join(', ');
}
