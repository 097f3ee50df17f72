import { decode } from '../messages/codec.js';
import {
  type DesireLRPRequest,
  type DesireTaskRequest,
  OldMountsOfDesireLRPRequest,
  OldMountsOfDesireTaskRequest,
  type OldVolumeMount,
  SharedDevice,
  type VolumeMount,
} from '../messages/models.js';

/**
 * Requests whose volume mounts may be of before 2017, in today's terms (docs/protocol/bbs.md §2.1).
 *
 * @param body which the request is of: today's message does not know the old fields
 * @throws MalformedMessage
 */
export function desireRequestWithOldMounts(request: DesireLRPRequest, body: Buffer): DesireLRPRequest {
  const { desiredLrp } = request;
  const { volumeMounts = [] } = decode(OldMountsOfDesireLRPRequest, body).desiredLrp ?? {};
  return desiredLrp ? { ...request, desiredLrp: withMounts(desiredLrp, volumeMounts) } : request;
}

/** The same of a task. */
export function taskRequestWithOldMounts(request: DesireTaskRequest, body: Buffer): DesireTaskRequest {
  const { taskDefinition } = request;
  const { volumeMounts = [] } = decode(OldMountsOfDesireTaskRequest, body).taskDefinition ?? {};
  return taskDefinition ? { ...request, taskDefinition: withMounts(taskDefinition, volumeMounts) } : request;
}

function withMounts<T extends { volumeMounts: readonly VolumeMount[] }>(mounted: T, old: readonly OldVolumeMount[]): T {
  return { ...mounted, volumeMounts: mounted.volumeMounts.map((mount, index) => modernMount(mount, old[index])) };
}

/** Who says the mode in words speaks in today's terms already. */
function modernMount(mount: VolumeMount, old: OldVolumeMount | undefined): VolumeMount {
  if (mount.mode !== '' || !old) return mount;
  const shared = SharedDevice.create({ volumeId: old.volumeId, mountConfig: Buffer.from(old.config).toString() });
  return { ...mount, mode: old.mode === 0 ? 'r' : 'rw', shared };
}
