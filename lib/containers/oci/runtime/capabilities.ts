import { readFileSync } from 'node:fs';

/** By number, as the kernel knows them up to Linux 3.16: what root in a privileged container may have. */
export const privilegedCapabilities = [
  ...['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW', 'IPC_LOCK', 'IPC_OWNER'],
  ...['SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT', 'SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE'],
  ...['SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD', 'LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP'],
  ...['MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG', 'WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ'],
].map((name) => `CAP_${name}`);

/** What root in an unprivileged container may have: mask `a80425fb` (docs/protocol/containers.md §3.2). */
export const unprivilegedCapabilities = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

/** Within reach of others than root in a privileged container, by set-user-id programs: mask `a82425fb`. */
const privilegedOthersCapabilities = [...unprivilegedCapabilities, 'CAP_SYS_ADMIN'];

/** The five sets as the OCI runtime specification names them. */
export interface CapabilitySets {
  bounding: string[];
  permitted: string[];
  effective: string[];
  inheritable: string[];
  ambient: string[];
}

export interface CapabilityRequest {
  /** In the container. */
  uid: number;
  isPrivileged: boolean;
  /** What this host can give at all. @default everything */
  available?: ReadonlySet<string>;
}

/**
 * The sets of a process by its user id (docs/protocol/containers.md §3.2). Only root starts with capabilities in
 * effect; others can reach the bounding set by programs with set-user-id or file capabilities.
 */
export function capabilitiesFor({ uid, isPrivileged, available }: CapabilityRequest): CapabilitySets {
  const isRoot = uid === 0;
  const reachable = boundingSet(isRoot, isPrivileged).filter((name) => available?.has(name) ?? true);
  return {
    bounding: reachable,
    permitted: isRoot ? reachable : [],
    effective: isRoot ? reachable : [],
    inheritable: reachable,
    ambient: [],
  };
}

function boundingSet(isRoot: boolean, isPrivileged: boolean): string[] {
  if (!isPrivileged) return unprivilegedCapabilities;
  return isRoot ? privilegedCapabilities : privilegedOthersCapabilities;
}

/** What the engine itself could hand on: a host may have taken some away from all of its processes. */
export function availableCapabilities(): ReadonlySet<string> {
  const mask = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
  const bits = BigInt(`0x${mask}`);
  return new Set(privilegedCapabilities.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n));
}
