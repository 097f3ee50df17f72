import { eventually } from '../../spec/support/eventually.js';
import type { BoardProcess } from './board-process.js';
import { cellOf } from './requests.js';

const presenceTtlMs = 3_600_000;

export async function addCells({ locket }: BoardProcess, count: number): Promise<void> {
  await Promise.all(
    idsOf(count).map((cellId) => {
      const value = JSON.stringify({ cell_id: cellId, rep_url: '' });
      return locket.acquire({ key: cellId, owner: cellId, type: 'presence', value }, presenceTtlMs);
    }),
  );
}

/** All but one that has nothing to run: were there none any more, the board would doubt that they are lost. */
export async function removeCells({ locket }: BoardProcess, count: number): Promise<void> {
  const value = JSON.stringify({ cell_id: 'survivor', rep_url: '' });
  await locket.acquire({ key: 'survivor', owner: 'survivor', type: 'presence', value }, presenceTtlMs);
  await Promise.all(idsOf(count).map((cellId) => locket.release(cellId, cellId)));
}

/** Has the board run a pass over LRPs. @returns how long it took, ms */
export async function durationOfPass(board: BoardProcess): Promise<number> {
  const passes = async () => (await board.metric('convergence_lrp_runs_total')) ?? 0;
  const before = await passes();
  process.kill(board.pid, 'SIGUSR2');
  await eventually(async () => (await passes()) > before || undefined, { what: 'a pass', timeoutMs: 60_000 });
  return ((await board.metric('convergence_lrp_duration')) ?? 0) / 1e6;
}

function idsOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => cellOf(index, count));
}
