import { DesiredLRP, DesiredLRPSchedulingInfo, DesiredLRPUpdate } from '../../../bbs/messages/models.js';
import { formatMegabytes } from '../../quantities.js';
import type { BbsSession } from './session/bbs-session.js';
import type { Column } from './session/output.js';
import { readSpec } from './session/spec.js';

const columns: readonly Column<DesiredLRP>[] = [
  ['process', ({ processGuid }) => processGuid],
  ['domain', ({ domain }) => domain],
  ['instances', ({ instances }) => String(instances)],
  ['memory', ({ memoryMb }) => formatMegabytes(memoryMb)],
  ['disk', ({ diskMb }) => formatMegabytes(diskMb)],
  ['rootfs', ({ rootFs }) => rootFs],
  ['routes', ({ routes }) => [...(routes?.routes.keys() ?? [])].join(', ')],
];

const schedulingColumns: readonly Column<DesiredLRPSchedulingInfo>[] = [
  ['process', ({ desiredLrpKey: { processGuid } }) => processGuid],
  ['domain', ({ desiredLrpKey: { domain } }) => domain],
  ['instances', ({ instances }) => String(instances)],
  ['memory', ({ desiredLrpResource: { memoryMb } }) => formatMegabytes(memoryMb)],
  ['disk', ({ desiredLrpResource: { diskMb } }) => formatMegabytes(diskMb)],
  ['rootfs', ({ desiredLrpResource: { rootFs } }) => rootFs],
  ['routes', ({ routes: { routes } }) => [...routes.keys()].join(', ')],
];

/** Prints all desired LRPs, or those of a domain. */
export async function desiredLrps({ call, output }: BbsSession, domain = ''): Promise<void> {
  const { desiredLrps: found } = await call('DesiredLRPs', { domain });
  output.list(DesiredLRP, found, columns);
}

/** Prints one. */
export async function desiredLrp({ call, output }: BbsSession, processGuid: string): Promise<void> {
  const { desiredLrp: found } = await call('DesiredLRPByProcessGuid', { processGuid });
  if (found) output.one(DesiredLRP, found);
}

/** Prints what placement needs to know. */
export async function desiredLrpSchedulingInfos({ call, output }: BbsSession, domain = ''): Promise<void> {
  const { desiredLrpSchedulingInfos: found } = await call('DesiredLRPSchedulingInfos', { domain });
  output.list(DesiredLRPSchedulingInfo, found, schedulingColumns);
}

/** @param spec JSON, `@FILE` or `-` */
export async function createDesiredLrp({ call, terminal }: BbsSession, spec: string): Promise<void> {
  await call('DesireDesiredLRP', { desiredLrp: await readSpec(DesiredLRP, spec, terminal) });
}

/** @param spec JSON, `@FILE` or `-`: only what is to change */
export async function updateDesiredLrp(
  { call, terminal }: BbsSession,
  processGuid: string,
  spec: string,
): Promise<void> {
  await call('UpdateDesireLRP', { processGuid, update: await readSpec(DesiredLRPUpdate, spec, terminal) });
}

/** Removes one, and so stops its instances. */
export async function deleteDesiredLrp({ call }: BbsSession, processGuid: string): Promise<void> {
  await call('RemoveDesiredLRP', { processGuid });
}
