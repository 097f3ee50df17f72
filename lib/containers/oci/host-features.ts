import { readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLogger } from '../../logging/logger.js';
import { runCommand } from '../../process/command.js';
import { HostRequirementError, InvalidSpecError } from '../errors.js';
import { findHierarchies } from './cgroups/hierarchies.js';
import type { HostFinding } from './host-finding.js';
import { listMounts, type MountPoint } from './mounts.js';
import { interfaceWith } from './network/host.js';
import { createNetwork } from './network/network.js';
import type { OciEngineOptions } from './oci-engine.js';
import type { Network } from './ports.js';
import { engineTag } from './tag.js';
import type { IdMap } from './users/id-map.js';
import { UserNamespaces } from './users/user-namespaces.js';
import type { DriverSetting } from './volumes/disk-driver.js';
import { examineProjectDrivers } from './volumes/quota/driver-choice.js';
import { createVolumes } from './volumes/volumes.js';

/** Without these the engine cannot limit containers. */
const neededControllers = ['cpu', 'memory', 'pids'];
const megabyte = 1024 * 1024;
/** `statfs(2)` */
const tmpfsType = 0x01021994;

/** Options of the engine that say what a feature must be like. */
export type FeatureOptions = Pick<
  OciEngineOptions,
  'diskQuotaDriver' | 'idMap' | 'networkPool' | 'portPool' | 'externalIp' | 'mtu'
>;

/**
 * What the kernel gives the engine, each tried out: control groups, disk quotas, user namespaces, networks, traffic
 * shaping.
 *
 * @param scratch a directory on the depot's file system, empty; so it is afterwards
 */
export async function checkFeatures(scratch: string, options: FeatureOptions = {}): Promise<HostFinding[]> {
  const mounts = await listMounts();
  return [
    await checkControlGroups(mounts),
    await checkDiskQuota(scratch, mounts, options.diskQuotaDriver ?? 'auto'),
    await checkUserNamespaces(options.idMap),
    await checkNetwork(scratch, options),
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
    const inMemory = (await isInMemory(scratch)) ? '; the depot lies in memory, and with it all that is written' : '';
    return { subject, state: 'ok', detail: `${lease.driver}, ${cost}${inMemory}${reasons.join('')}` };
  } catch (error) {
    const demanded = others.find(({ name }) => name === driver);
    const remedy = demanded?.isUsable === false ? { remedy: demanded.remedy } : {};
    return { subject, state: 'fails', detail: (error as Error).message, ...remedy };
  } finally {
    await volumes.stop();
  }
}

async function isInMemory(directory: string): Promise<boolean> {
  return (await statfs(directory)).type === tmpfsType;
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

/** A network with a mapped port, made and removed, and the address that mapped ports will be told to answer on. */
async function checkNetwork(scratch: string, options: FeatureOptions): Promise<HostFinding> {
  const subject = 'network';
  const remedy = 'boot a kernel with veth, bridges and netfilter, or load the modules';
  let network: Network | undefined;
  try {
    network = createNetwork({
      tag: engineTag(join(scratch, 'network')),
      portStateFile: join(scratch, 'ports', 'ports.json'),
      ...(options.networkPool !== undefined && { pool: options.networkPool }),
      ...(options.portPool && { ports: options.portPool }),
      ...(options.externalIp !== undefined && { externalIp: options.externalIp }),
      ...(options.mtu !== undefined && { mtu: options.mtu }),
      spares: 0,
      logger: silentLogger,
    });
    await network.start();
    const begun = performance.now();
    const lease = await network.create({ handle: 'check', netIn: [{}], netOut: [] });
    const cost = `${Math.round(performance.now() - begun)} ms a network`;
    await network.release(lease);
    const foreign = interfaceWith(lease.externalIp) === undefined ? ', which no interface of this host has' : '';
    return { subject, state: 'ok', detail: `${cost}; mapped ports answer on ${lease.externalIp}${foreign}` };
  } catch (error) {
    const { message } = error as Error;
    return { subject, state: 'fails', detail: message, ...(!(error instanceof InvalidSpecError) && { remedy }) };
  } finally {
    await network?.teardown().catch(() => {});
    await rm(join(scratch, 'ports'), { recursive: true, force: true });
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
