/** What hides the kernel and its devices from containers (docs/protocol/containers.md §3.2). */

/** Hidden in unprivileged containers: they tell of the host. */
export const maskedPaths = [
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/firmware',
];

/** Read-only in unprivileged containers, beyond what upstream asks for: they would change the host. */
export const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** A rule of the device control group. Without numbers: all of them. */
interface DeviceRule {
  allow: boolean;
  type?: 'b' | 'c';
  major?: number;
  minor?: number;
  access: string;
}

/** None but those that the runtime itself makes. */
export const runtimeDevices: DeviceRule[] = [{ allow: false, access: 'rwm' }];

const fuse = { major: 10, minor: 229 };

/** Of privileged containers: any node may be made, these may be used. */
export const allDevices: DeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...[
    { major: 1, minor: 3 }, // null
    { major: 1, minor: 5 }, // zero
    { major: 1, minor: 7 }, // full
    { major: 1, minor: 8 }, // random
    { major: 1, minor: 9 }, // urandom
    { major: 5, minor: 0 }, // tty
    { major: 5, minor: 2 }, // ptmx
    { major: 136 }, // pts
    { major: 10, minor: 200 }, // tun
    fuse,
  ].map((numbers): DeviceRule => ({ allow: true, type: 'c', ...numbers, access: 'rwm' })),
];

/** `linux.devices` entry of the node that privileged containers get beside the usual ones. */
export const fuseDevice = { path: '/dev/fuse', type: 'c', ...fuse, fileMode: 0o666, uid: 0, gid: 0 };
