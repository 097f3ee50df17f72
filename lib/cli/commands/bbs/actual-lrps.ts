import { ActualLRP, ActualLRPGroup, ActualLRPKey, ActualLRPPresence } from '../../../bbs/messages/models.js';
import type { BbsSession } from './session/bbs-session.js';
import type { Column } from './session/output.js';
import { formatNanoseconds, nameOf } from './session/wording.js';

export interface ActualLrpFilter {
  domain?: string;
  cellId?: string;
  processGuid?: string;
  index?: number;
}

const columns: readonly Column<ActualLRP>[] = [
  ['process', ({ actualLrpKey: { processGuid } }) => processGuid],
  ['index', ({ actualLrpKey: { index } }) => String(index)],
  ['state', ({ state }) => state],
  ['presence', ({ presence }) => nameOf(ActualLRPPresence, presence)],
  ['cell', ({ actualLrpInstanceKey: { cellId } }) => cellId],
  ['address', addressOf],
  ['crashes', ({ crashCount }) => String(crashCount)],
  ['since', ({ since }) => formatNanoseconds(since)],
  ['why', ({ placementError, crashReason }) => placementError || crashReason],
];

/** Prints actual LRPs, all presences. */
export async function actualLrps({ call, output }: BbsSession, filter: ActualLrpFilter): Promise<void> {
  const { actualLrps: found } = await call('ActualLRPs', filter);
  output.list(ActualLRP, found, columns);
}

/** Prints the groups that old clients know. */
export async function actualLrpGroups({ call, output }: BbsSession, filter: ActualLrpFilter): Promise<void> {
  output.warn('actual-lrp-groups is deprecated; use actual-lrps.');
  const { domain = '', cellId = '' } = filter;
  const { actualLrpGroups: found } = await call('ActualLRPGroups', { domain, cellId });
  printGroups(output, found);
}

/** Prints the groups of one process, or that of one of its indices. */
export async function actualLrpGroupsForGuid(session: BbsSession, processGuid: string, index?: number): Promise<void> {
  const { call, output } = session;
  output.warn('actual-lrp-groups-for-guid is deprecated; use actual-lrps -p.');
  if (index === undefined) {
    const { actualLrpGroups: found } = await call('ActualLRPGroupsByProcessGuid', { processGuid });
    return printGroups(output, found);
  }
  const { actualLrpGroup } = await call('ActualLRPGroupsByProcessGuidAndIndex', { processGuid, index });
  printGroups(output, actualLrpGroup ? [actualLrpGroup] : []);
}

/** Stops an instance that another one then takes the place of. */
export async function retireActualLrp({ call }: BbsSession, processGuid: string, index: number): Promise<void> {
  const { desiredLrp } = await call('DesiredLRPByProcessGuid', { processGuid });
  const actualLrpKey = ActualLRPKey.create({ processGuid, index, domain: desiredLrp?.domain ?? '' });
  await call('RetireActualLRP', { actualLrpKey });
}

function printGroups(output: BbsSession['output'], groups: readonly ActualLRPGroup[]): void {
  if (output.isJson) {
    output.list(ActualLRPGroup, groups, []);
    return;
  }
  const slots = groups.flatMap(({ instance, evacuating }) => [instance, evacuating]);
  const instances = slots.filter((instance) => instance !== undefined);
  output.list(ActualLRP, instances, columns);
}

/** Where the first port is reached. */
function addressOf({ actualLrpNetInfo: { address, ports } }: ActualLRP): string {
  const [first] = ports;
  return first ? `${address}:${first.hostPort}` : address;
}
