import { mkdir, mkdtemp, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { realPathOf } from '../../files/real-path.js';
import { silentLogger } from '../../logging/logger.js';
import type { ContainerEngine } from '../engine.js';
import { checkFeatures } from './host-features.js';
import type { HostFinding } from './host-finding.js';
import { findProgram, programPackages } from './host-tools.js';
import { createOciEngine, type OciEngineOptions } from './oci-engine.js';
import { toolboxPathInContainer } from './runtime/bundle-mounts.js';
import { runtimeNames } from './runtime/choice.js';
import type { RuntimeName } from './runtime/oci-runtime.js';

/** Programs that are asked for only when they are needed, with what is lost without. */
const optionalPrograms: Record<string, { package: string; loss: string }> = {
  skopeo: { package: 'skopeo', loss: 'images from registries' },
  xfs_quota: { package: 'xfsprogs', loss: 'disk quotas by project on XFS' },
  setquota: { package: 'quota', loss: 'disk quotas by project on ext4' },
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
  findings.push(...(await inScratch(options.depotDirectory, (scratch) => checkFeatures(scratch, options))));
  findings.push(await checkDefaultRootfs(options.defaultRootfs));
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

/** Subject of the finding about what containers are made from that name nothing. */
export const defaultRootfsSubject = 'default root file system';

/** What containers are made from that name nothing. Images that have to be fetched are left alone. */
async function checkDefaultRootfs(path: string | undefined): Promise<HostFinding> {
  const subject = defaultRootfsSubject;
  if (path === undefined) {
    const optional = 'containers that name no root file system';
    return { subject, state: 'missing', detail: 'none is configured', optional };
  }
  if (!path.startsWith('/')) return { subject, state: 'ok', detail: `${path} (not looked at)` };
  const status = await stat(path).catch(() => undefined);
  if (!status) return { subject, state: 'missing', detail: `${path} is not there`, remedy: `bin/make-stack ${path}` };
  if (status.isFile()) return { subject, state: 'ok', detail: `the archive ${path}` };
  const hasUsers = await stat(join(path, 'etc/passwd')).catch(() => undefined);
  if (hasUsers) return { subject, state: 'ok', detail: path };
  return { subject, state: 'fails', detail: `${path} has no etc/passwd`, remedy: `bin/make-stack ${path}` };
}

async function checkRuntime(runtime: RuntimeName, options: Omit<OciEngineOptions, 'logger'>): Promise<HostFinding> {
  const subject = `runtime ${runtime}`;
  if ((await findProgram(runtime)) === undefined) {
    return { subject, state: 'missing', detail: 'not installed', remedy: `apt-get install ${runtime}` };
  }
  return inScratch(options.depotDirectory, async (scratch) => {
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
    }
  });
}

/** Lends a directory beside the depot, where the file system is the same. */
async function inScratch<Result>(depot: string, use: (scratch: string) => Promise<Result>): Promise<Result> {
  const parent = dirname(realPathOf(depot));
  const made = await mkdir(parent, { recursive: true });
  const scratch = await mkdtemp(join(parent, 'check-'));
  try {
    return await use(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
    if (made !== undefined) await removeEmpty(parent, made);
  }
}

/** Removes a directory and those above it up to `last`, unless somebody has put something there meanwhile. */
async function removeEmpty(directory: string, last: string): Promise<void> {
  for (let path = directory; ; path = dirname(path)) {
    const isGone = await rmdir(path).then(
      () => true,
      () => false,
    );
    if (!isGone || path === last || path === '/') return;
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
