import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../logging/logger.js';
import { runCommand } from '../../process/command.js';
import { HostRequirementError } from '../errors.js';
import { findHierarchies } from './cgroups/hierarchies.js';
import type { HostFinding } from './host-finding.js';
import { listMounts, type MountPoint } from './mounts.js';
import type { IdMap } from './users/id-map.js';
import { UserNamespaces } from './users/user-namespaces.js';
import type { DriverSetting } from './volumes/disk-driver.js';
import { examineProjectDrivers } from './volumes/quota/driver-choice.js';
import { createVolumes } from './volumes/volumes.js';

/** Without these the engine cannot limit containers. */
const neededControllers = ['cpu', 'memory', 'pids'];
const megabyte = 1024 * 1024;

/**
 * What the kernel gives the engine, each tried out: control groups, disk quotas, user namespaces, traffic shaping.
 *
 * @param scratch a directory on the depot's file system, empty; so it is afterwards
 */
export async function checkFeatures(
  scratch: string,
  { driver = 'auto', idMap }: { driver?: DriverSetting | undefined; idMap?: IdMap | undefined } = {},
): Promise<HostFinding[]> {
  const mounts = await listMounts();
  return [
    await checkControlGroups(mounts),
    await checkDiskQuota(scratch, mounts, driver),
    await checkUserNamespaces(idMap),
    await checkBandwidth(),
  ];
}

/** Which version the host has, and with which controllers. */
export async function checkControlGroups(mounts: MountPoint[]): Promise<HostFinding> {
  const subject = 'control groups';
  const hierarchies = findHierarchies(mounts);
  if (!hierarchies) {
    const remedy = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup';
    return { subject, state: 'missing', detail: 'none are mounted', remedy };
  }
  if (hierarchies.version === 1) {
    const controllers = [...hierarchies.controllers.keys()].filter((name) => /^[a-z_]+$/.test(name) && name !== 'rw');
    return describeControllers(subject, 'version 1', controllers);
  }
  const text = await readFile(join(hierarchies.root, 'cgroup.controllers'), 'utf8').catch(() => '');
  return describeControllers(subject, `version 2 at ${hierarchies.root}`, text.trim().split(/\s+/).filter(Boolean));
}

function describeControllers(subject: string, version: string, controllers: string[]): HostFinding {
  const missing = neededControllers.filter((name) => !controllers.includes(name));
  if (missing.length === 0) return { subject, state: 'ok', detail: `${version}: ${controllers.sort().join(' ')}` };
  const detail = `${version}, without ${missing.join(', ')}`;
  return {
    subject,
    state: 'fails',
    detail,
    remedy: 'boot a kernel that has these controllers, and does not disable them',
  };
}

/** Which driver new containers get and what a volume costs with it, and why not a better one. */
async function checkDiskQuota(scratch: string, mounts: MountPoint[], driver: DriverSetting): Promise<HostFinding> {
  const subject = 'disk quota';
  const others = await examineProjectDrivers(scratch, mounts);
  const layers = { retain: () => {}, release: () => {} };
  const directory = join(scratch, 'volumes');
  const volumes = createVolumes({ directory, layers, driver, spares: 0, logger: silentLogger });
  try {
    await volumes.start();
    const begun = performance.now();
    const image = { identity: 'check', lowerDirectories: [scratch], layers: [], env: [], annotations: {} };
    const lease = await volumes.create({
      handle: 'check',
      directory: scratch,
      image: { ...image, isRaw: false, hasMetacopy: false },
      bytes: 16 * megabyte,
    });
    const cost = `${Math.round(performance.now() - begun)} ms a volume`;
    await volumes.release(lease);
    const better = others.flatMap((other) => (other.isUsable || lease.driver !== 'loop-image' ? [] : [other]));
    const reasons = better.map(({ name, reason }) => `; not ${name}: ${reason}`);
    return { subject, state: 'ok', detail: `${lease.driver}, ${cost}${reasons.join('')}` };
  } catch (error) {
    const demanded = others.find(({ name }) => name === driver);
    const remedy = demanded?.isUsable === false ? { remedy: demanded.remedy } : {};
    return { subject, state: 'fails', detail: (error as Error).message, ...remedy };
  } finally {
    await volumes.stop();
  }
}

/** @param idMap without it, a host need not have them */
async function checkUserNamespaces(idMap: IdMap | undefined): Promise<HostFinding> {
  const subject = 'user namespaces';
  const optional = idMap ? {} : { optional: "containers whose root is not the host's" };
  const begun = performance.now();
  try {
    await new UserNamespaces(idMap).enable();
    return { subject, state: 'ok', detail: `made in ${Math.round(performance.now() - begun)} ms`, ...optional };
  } catch (error) {
    const remedy = error instanceof HostRequirementError ? 'sysctl user.max_user_namespaces=65536' : undefined;
    return { subject, state: 'fails', detail: (error as Error).message, ...optional, ...(remedy && { remedy }) };
  }
}

/** In a network namespace that ends with the trial. */
async function checkBandwidth(): Promise<HostFinding> {
  const subject = 'bandwidth limits';
  const optional = 'bandwidth limits';
  const shape = ['qdisc', 'add', 'dev', 'lo', 'root', 'tbf', 'rate', '1mbit', 'burst', '16kb', 'latency', '25ms'];
  const begun = performance.now();
  try {
    await runCommand('unshare', ['--net', 'tc', ...shape]);
    return { subject, state: 'ok', detail: `tbf, ${Math.round(performance.now() - begun)} ms a link`, optional };
  } catch (error) {
    const remedy = 'apt-get install iproute2, and modprobe sch_tbf';
    return { subject, state: 'fails', detail: (error as Error).message, optional, remedy };
  }
}
