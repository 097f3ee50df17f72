import type { CgroupPlace } from '../ports.js';
import { type Confinement, filters, idMaps, initProcess, resources, seccompAnnotation } from '../runtime/bundle.js';
import { type BundleMount, cgroupMount, kernelMounts, networkFileMounts } from '../runtime/bundle-mounts.js';
import type { IdMap } from '../users/id-map.js';

export interface PeaBundleRequest {
  /** Mounted root file system on the host. */
  rootfs: string;
  /** The container's init on the host, whose namespaces are shared. */
  init: number;
  /** Of the container's user namespace; absent when it has none of its own. */
  idMap?: IdMap;
  confinement: Confinement;
  place: CgroupPlace;
  cgroupsVersion: 1 | 2;
  limitsSwap: boolean;
  programMounts: BundleMount[];
  /** Those of the container. */
  hostsFile: string;
  resolvConfFile: string;
  bindMounts: BundleMount[];
}

/**
 * `config.json` of a pea: a root file system and mounts of its own, all else is the container's
 * (docs/protocol/containers.md §3.3).
 */
export function peaConfig(request: PeaBundleRequest): object {
  const { confinement, idMap, init } = request;
  const { isPrivileged } = confinement;
  const shared = ['network', 'pid', 'uts', 'ipc', ...(idMap ? ['user'] : [])];
  return {
    ociVersion: '1.0.2',
    process: initProcess(confinement),
    root: { path: request.rootfs, readonly: false },
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
        ...shared.map((type) => ({ type, path: `/proc/${init}/ns/${namespaceFile(type)}` })),
        { type: 'mount' },
      ],
      ...(idMap && idMaps(idMap)),
      rootfsPropagation: 'private',
      cgroupsPath: request.place.path,
      resources: resources(request),
      ...filters(confinement),
    },
  };
}

/** The kernel's word for a namespace of the OCI runtime specification. */
function namespaceFile(type: string): string {
  return type === 'network' ? 'net' : type;
}
