import type { BindMount, Limits } from '../../engine.js';
import { capabilitiesFor } from './capabilities.js';
import type { OciProcess } from './process.js';
import type { SeccompProfile } from './seccomp.js';

/** Where init and the archiver are found inside every container. */
export const initPathInContainer = '/tmp/garden-init';
/** Its last component must begin with `busybox`: the program takes the applet from its own name otherwise. */
export const toolboxPathInContainer = '/dev/busybox';

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const hostNameLength = 49;

/** A mount of the OCI runtime specification. */
export interface BundleMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface BundleRequest {
  handle: string;
  /** Mounted root file system on the host. */
  rootfs: string;
  /** Network namespace file to join. */
  networkNamespace: string;
  /** Absolute `cgroupsPath`. */
  cgroupsPath: string;
  cgroupsVersion: 1 | 2;
  /** Whether memory and swap can be limited together on this kernel. */
  limitsSwap: boolean;
  limits: Limits;
  /** The most processor time, microseconds. */
  cpuQuota?: { quota: number; period: number };
  /** Static programs on the host. */
  initProgram: string;
  toolboxProgram: string;
  /** Files on the host that stand in for `/etc/hosts` and `/etc/resolv.conf`. */
  hostsFile: string;
  resolvConfFile: string;
  bindMounts: BindMount[];
  seccomp: SeccompProfile;
  /** The same filter ready for the kernel, base64; spares crun compiling it. */
  compiledSeccomp?: string;
}

const kernelMounts: BundleMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'noexec', 'strictatime', 'mode=755'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'gid=5', 'ptmxmode=0666', 'mode=0620'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
];

/** Lets programs read their limits; on cgroup v2 the view would show the host's groups. */
const cgroupMount: BundleMount = {
  destination: '/sys/fs/cgroup',
  type: 'cgroup',
  source: 'cgroup',
  options: ['ro', 'nosuid', 'noexec', 'nodev'],
};

const maskedPaths = [
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/firmware',
];

const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** The name a container knows itself by: the last 49 characters of its handle. */
export function hostNameOf(handle: string): string {
  return handle.slice(-hostNameLength);
}

/**
 * `config.json` of an unprivileged container without a user namespace, limits included, so that nothing needs to be
 * written to its control group after it was made (docs/protocol/containers.md §3.2, §3.6, §3.7).
 */
export function bundleConfig(request: BundleRequest): object {
  const init: OciProcess = {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: [initPathInContainer, '-P'],
    env: [`PATH=${defaultPath}`],
    cwd: '/',
    capabilities: capabilitiesFor(0),
    noNewPrivileges: false,
  };
  return {
    ociVersion: '1.0.2',
    process: init,
    root: { path: request.rootfs, readonly: false },
    hostname: hostNameOf(request.handle),
    mounts: [
      ...kernelMounts,
      ...(request.cgroupsVersion === 1 ? [cgroupMount] : []),
      fileMount(request.initProgram, initPathInContainer, 'ro'),
      fileMount(request.toolboxProgram, toolboxPathInContainer, 'ro'),
      fileMount(request.hostsFile, '/etc/hosts', 'rw'),
      fileMount(request.resolvConfFile, '/etc/resolv.conf', 'rw'),
      ...request.bindMounts.map(userMount),
    ],
    ...(request.compiledSeccomp !== undefined && {
      annotations: { 'run.oci.seccomp_bpf_data': request.compiledSeccomp },
    }),
    linux: {
      namespaces: [
        { type: 'network', path: request.networkNamespace },
        { type: 'pid' },
        { type: 'uts' },
        { type: 'ipc' },
        { type: 'mount' },
      ],
      rootfsPropagation: 'private',
      cgroupsPath: request.cgroupsPath,
      resources: resources(request),
      seccomp: request.seccomp,
      maskedPaths,
      readonlyPaths,
    },
  };
}

function fileMount(source: string, destination: string, mode: 'ro' | 'rw'): BundleMount {
  return { destination, type: 'bind', source, options: ['bind', mode] };
}

/** Mounts below a writable source stay usable; below a read-only one they would stay writable, so they are left out. */
function userMount(mount: BindMount): BundleMount {
  return {
    destination: mount.destination,
    type: 'bind',
    source: mount.source,
    options: mount.mode === 'rw' ? ['rbind', 'rw'] : ['bind', 'ro'],
  };
}

function resources({ limits, limitsSwap, cpuQuota }: BundleRequest): object {
  const { memoryBytes, cpuShares, maxPids } = limits;
  return {
    devices: [{ allow: false, access: 'rwm' }],
    ...(memoryBytes !== undefined && {
      memory: { limit: memoryBytes, ...(limitsSwap && { swap: memoryBytes }) },
    }),
    ...(cpuShares !== undefined && { cpu: { shares: cpuShares, ...cpuQuota } }),
    ...(maxPids !== undefined && { pids: { limit: maxPids } }),
  };
}
