import type { CgroupPlace } from '../ports.js';
import { type IdMap, type IdMapping, mappingsOf } from '../users/id-map.js';
import {
  type BundleMount,
  cgroupMount,
  initPathInContainer,
  kernelMounts,
  networkFileMounts,
} from './bundle-mounts.js';
import { capabilitiesFor } from './capabilities.js';
import { allDevices, fuseDevice, maskedPaths, readonlyPaths, runtimeDevices } from './confinement.js';
import type { OciProcess } from './process.js';
import type { SeccompProfile } from './seccomp.js';

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const hostNameLength = 49;

/** What processes of a container may do, and what confines them. */
export interface Confinement {
  /** All capabilities, all devices, no system call filter, no masked paths (docs/protocol/containers.md §3.2). */
  isPrivileged: boolean;
  /** Set-user-id programs and file capabilities lend nothing; never in privileged containers. */
  noNewPrivileges: boolean;
  /** Capabilities that the host can give at all. */
  capabilities: ReadonlySet<string>;
  seccomp: SeccompProfile;
  /** The same filter ready for the kernel, base64; spares crun compiling it. */
  compiledSeccomp?: string;
}

export interface BundleRequest {
  handle: string;
  /** Mounted root file system on the host. */
  rootfs: string;
  /** Network namespace file to join. */
  networkNamespace: string;
  /** User namespace to join, and the map that it has; absent: that of the host. */
  userNamespace?: { path: string; idMap: IdMap };
  confinement: Confinement;
  place: CgroupPlace;
  cgroupsVersion: 1 | 2;
  /** Whether memory and swap can be limited together on this kernel. */
  limitsSwap: boolean;
  programMounts: BundleMount[];
  /** Files on the host that stand in for `/etc/hosts` and `/etc/resolv.conf`. */
  hostsFile: string;
  resolvConfFile: string;
  bindMounts: BundleMount[];
}

/** The name a container knows itself by: the last 49 characters of its handle. */
export function hostNameOf(handle: string): string {
  return handle.slice(-hostNameLength);
}

/**
 * `config.json` of a container, limits included as far as its control group does not have them already (docs/protocol/containers.md §3.2, §3.6, §3.7).
 */
export function bundleConfig(request: BundleRequest): object {
  const { confinement, userNamespace } = request;
  const { isPrivileged } = confinement;
  return {
    ociVersion: '1.0.2',
    process: initProcess(confinement),
    root: { path: request.rootfs, readonly: false },
    hostname: hostNameOf(request.handle),
    mounts: [
      ...kernelMounts,
      ...(request.cgroupsVersion === 1 && !isPrivileged ? [cgroupMount] : []),
      ...request.programMounts,
      ...networkFileMounts(request.hostsFile, request.resolvConfFile),
      ...request.bindMounts,
    ],
    ...seccompAnnotation(confinement),
    linux: {
      namespaces: [
        { type: 'network', path: request.networkNamespace },
        { type: 'pid' },
        { type: 'uts' },
        { type: 'ipc' },
        { type: 'mount' },
        ...(userNamespace === undefined ? [] : [{ type: 'user', path: userNamespace.path }]),
      ],
      ...(userNamespace !== undefined && idMaps(userNamespace.idMap)),
      rootfsPropagation: 'private',
      cgroupsPath: request.place.path,
      resources: resources(request),
      ...filters(confinement),
    },
  };
}

/** Both runtimes want to know the maps, also of a namespace that has them already. */
export function idMaps({ users, groups }: IdMap): { uidMappings: IdMapping[]; gidMappings: IdMapping[] } {
  return { uidMappings: mappingsOf(users), gidMappings: mappingsOf(groups) };
}

/** Where crun looks for a filter that is compiled already. */
export function seccompAnnotation({ isPrivileged, compiledSeccomp }: Confinement): object {
  if (isPrivileged || compiledSeccomp === undefined) return {};
  return { annotations: { 'run.oci.seccomp_bpf_data': compiledSeccomp } };
}

/** The part of `linux` that confines all processes of a container. */
export function filters({ isPrivileged, seccomp }: Confinement): object {
  return isPrivileged ? { devices: [fuseDevice] } : { seccomp, maskedPaths, readonlyPaths };
}

/** `linux.resources`: limits, and which devices may be used. */
export function resources(
  request: Pick<BundleRequest, 'place' | 'limitsSwap'> & {
    confinement: Pick<Confinement, 'isPrivileged'>;
  },
): object {
  const { place, limitsSwap } = request;
  const { isPrivileged } = request.confinement;
  const { memoryBytes, cpuShares, maxPids } = place.limits;
  return {
    devices: isPrivileged ? allDevices : runtimeDevices,
    ...(memoryBytes !== undefined && {
      memory: { limit: memoryBytes, ...(limitsSwap && { swap: memoryBytes }) },
    }),
    ...(cpuShares !== undefined && { cpu: { shares: cpuShares, ...place.cpuQuota } }),
    ...(maxPids !== undefined && { pids: { limit: maxPids } }),
  };
}

/** An init that leaves no zombies and waits for its end. */
export function initProcess({ isPrivileged, capabilities }: Confinement): OciProcess {
  return {
    terminal: false,
    user: { uid: 0, gid: 0 },
    args: [initPathInContainer, '-P'],
    env: [`PATH=${defaultPath}`],
    cwd: '/',
    capabilities: capabilitiesFor({ uid: 0, isPrivileged, available: capabilities }),
    noNewPrivileges: false,
  };
}
