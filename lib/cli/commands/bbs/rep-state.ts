import { STATUS_CODES } from 'node:http';
import { z } from 'zod';
import { HttpExchange } from '../../../bbs/client/http-exchange.js';
import { parsePeer } from '../../../bbs/client/http-peer.js';
import { compactJson } from '../../../bbs/messages/json/text.js';
import type { CellPresence } from '../../../bbs/messages/models.js';
import { formatMegabytes } from '../../quantities.js';
import type { BbsSession } from './session/bbs-session.js';

/** What a rep says of its cell. */
export interface RepState {
  cellId: string;
  /** In a line, otherwise as it came. */
  json: string;
}

const limits = { connectTimeoutMs: 5000, timeoutMs: 10_000, maximumBodyBytes: 256 * 1024 * 1024 };

/**
 * Asks the rep of a cell (docs/protocol/bbs.md §20: `GET <rep_url>/state`), with the certificate that the BBS is shown.
 *
 * @throws when it does not answer, or not with JSON
 */
export async function readRepState(
  session: BbsSession,
  { cellId, repUrl, repAddress }: CellPresence,
): Promise<RepState> {
  const { connection, requestId, terminal } = session;
  const rep = new HttpExchange(parsePeer(repUrl || repAddress, connection.tls), limits);
  try {
    const headers = { 'X-Vcap-Request-Id': requestId };
    const answer = await rep.ask({ method: 'GET', path: '/state', headers, signal: terminal.signal });
    if (answer.status !== 200) {
      throw new Error(`http error: status code ${answer.status} (${STATUS_CODES[answer.status] ?? ''})`);
    }
    return { cellId, json: compactJson(answer.body).toString('utf8') };
  } finally {
    rep.stop();
  }
}

const resources = z.object({ MemoryMB: z.number(), DiskMB: z.number(), Containers: z.number() });
const cellState = z.object({
  AvailableResources: resources,
  TotalResources: resources,
  LRPs: z.array(z.unknown()).nullish(),
  Tasks: z.array(z.unknown()).nullish(),
  Zone: z.string().default(''),
  Evacuating: z.boolean().default(false),
});

/** What a table shows of a state; dashes for what a rep of another kind does not say. */
export function summaryOf(json: string) {
  const { data } = cellState.safeParse(JSON.parse(json));
  const free = (kind: keyof z.infer<typeof resources>, format: (amount: number) => string) =>
    data ? `${format(data.AvailableResources[kind])} of ${format(data.TotalResources[kind])} free` : '-';
  const count = (list: readonly unknown[] | null | undefined) => (data ? String(list?.length ?? 0) : '-');
  return {
    zone: data?.Zone ?? '-',
    memory: free('MemoryMB', formatMegabytes),
    disk: free('DiskMB', formatMegabytes),
    containers: free('Containers', String),
    lrps: count(data?.LRPs),
    tasks: count(data?.Tasks),
    isEvacuating: data?.Evacuating ?? false,
  };
}
