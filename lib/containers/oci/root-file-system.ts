import type { Host } from './host.js';
import type { VolumeLease, VolumeRequest } from './ports.js';

/** Makes a volume over a root file system with the owners that its user namespace, or the want of one, asks for. */
export async function makeRootFileSystem(
  host: Host,
  request: VolumeRequest & { hasUserNamespace: boolean },
): Promise<VolumeLease> {
  const { hasUserNamespace, ...volume } = request;
  const rootfs = hasUserNamespace ? await host.shiftedImages.of(volume.rootfs) : volume.rootfs;
  return host.volumes.create({ ...volume, rootfs });
}
