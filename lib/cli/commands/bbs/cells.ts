import { CellPresence } from '../../../bbs/messages/models.js';
import { formatMegabytes } from '../../quantities.js';
import { type RepState, readRepState, summaryOf } from './rep-state.js';
import type { BbsSession } from './session/bbs-session.js';
import type { Column } from './session/output.js';
import { exitStatus, WordFailure } from './session/word-failure.js';

const columns: readonly Column<CellPresence>[] = [
  ['cell', ({ cellId }) => cellId],
  ['zone', ({ zone }) => zone],
  ['memory', ({ capacity }) => (capacity ? formatMegabytes(capacity.memoryMb) : '-')],
  ['disk', ({ capacity }) => (capacity ? formatMegabytes(capacity.diskMb) : '-')],
  ['containers', ({ capacity }) => (capacity ? String(capacity.containers) : '-')],
  [
    'rootfs',
    ({ rootfsProviders }) => rootfsProviders.flatMap(({ name, properties }) => [name, ...properties]).join(', '),
  ],
  ['tags', ({ placementTags, optionalPlacementTags }) => [...placementTags, ...optionalPlacementTags].join(', ')],
  ['rep', ({ repUrl, repAddress }) => repUrl || repAddress],
];

const stateColumns: readonly Column<RepState>[] = [
  ['cell', ({ cellId }) => cellId],
  ['zone', ({ json }) => summaryOf(json).zone],
  ['memory', ({ json }) => summaryOf(json).memory],
  ['disk', ({ json }) => summaryOf(json).disk],
  ['containers', ({ json }) => summaryOf(json).containers],
  ['LRPs', ({ json }) => summaryOf(json).lrps],
  ['tasks', ({ json }) => summaryOf(json).tasks],
  ['', ({ json }) => (summaryOf(json).isEvacuating ? 'evacuating' : '')],
];

/** Prints the cells that are present. */
export async function cells({ call, output }: BbsSession): Promise<void> {
  const { cells: found } = await call('Cells');
  output.list(CellPresence, found, columns);
}

/** Prints the presence of one. */
export async function cell(session: BbsSession, cellId: string): Promise<void> {
  session.output.one(CellPresence, await findCell(session, cellId));
}

/** Prints what a cell's rep says of itself. */
export async function cellState(session: BbsSession, cellId: string): Promise<void> {
  const presence = await findCell(session, cellId);
  try {
    session.output.object((await readRepState(session, presence)).json);
  } catch (error) {
    throw new WordFailure(repFailure(presence, error), exitStatus.refused, { cause: error });
  }
}

/** Prints what the rep of each cell says; also when some do not answer. */
export async function cellStates(session: BbsSession): Promise<void> {
  const states: RepState[] = [];
  const failures: string[] = [];
  for (const presence of await presencesForStates(session)) {
    try {
      const state = await readRepState(session, presence);
      if (session.output.isJson) session.output.object(state.json);
      states.push(state);
    } catch (error) {
      session.terminal.signal.throwIfAborted();
      failures.push(repFailure(presence, error));
    }
  }
  if (!session.output.isJson) session.output.table(states, stateColumns);
  if (failures.length > 0) throw new WordFailure(failures.join('\n'), exitStatus.refused);
}

async function presencesForStates({ call }: BbsSession): Promise<readonly CellPresence[]> {
  try {
    return (await call('Cells')).cells;
  } catch (error) {
    const why = `BBS error: Failed to get cell registrations from BBS: ${(error as Error).message}`;
    throw new WordFailure(why, exitStatus.refused, { cause: error });
  }
}

async function findCell({ call }: BbsSession, cellId: string): Promise<CellPresence> {
  const { cells: found } = await call('Cells');
  const presence = found.find((candidate) => candidate.cellId === cellId);
  if (!presence) throw new WordFailure('Cell not found', exitStatus.failed);
  return presence;
}

function repFailure({ cellId }: CellPresence, error: unknown): string {
  return `Rep error: Failed to get cell state for cell ${cellId}: ${(error as Error).message}`;
}
