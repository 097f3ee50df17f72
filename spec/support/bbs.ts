import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bbs } from '../../lib/bbs/bbs.js';
import { BbsClient } from '../../lib/bbs/client/bbs-client.js';
import { type BbsConfig, bbsConfigSchema } from '../../lib/bbs/config.js';
import { parseConfig } from '../../lib/config/load.js';
import { type Logger, silentLogger } from '../../lib/logging/logger.js';
import { bodyOf, startHttpServer } from './http-server.js';

/** What a played auctioneer or rep was asked. */
export interface PeerRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** Parsed JSON; undefined where there is none. */
  body: unknown;
}

/** A component that the board calls, recording what it is asked. */
export interface PlayedPeer {
  url: string;
  requests: PeerRequest[];
  /** Of the next answers; 202 unless a spec says otherwise. */
  status: number;
  stop(): Promise<void>;
}

export async function startPlayedPeer(): Promise<PlayedPeer> {
  const requests: PeerRequest[] = [];
  const server = await startHttpServer(async (request, response) => {
    const text = (await bodyOf(request)).toString();
    const { method = '', url: path = '', headers } = request;
    requests.push({ method, path, headers, body: text === '' ? undefined : JSON.parse(text) });
    response.writeHead(peer.status).end();
  });
  const peer: PlayedPeer = { url: server.url, requests, status: 202, stop: () => server.stop() };
  return peer;
}

export interface BbsOptions {
  /** Keys of the configuration as they stand in the file, beside those that every spec needs. */
  config?: Record<string, unknown>;
  /** @default a SQLite file of its own */
  database?: { database_driver: string; database_connection_string: string };
  logger?: Logger;
}

export interface RunningBbs {
  bbs: Bbs;
  client: BbsClient;
  url: string;
  healthUrl: string;
  auctioneer: PlayedPeer;
  rep: PlayedPeer;
  /** Why it ended by itself, where it did. */
  readonly fatal: string | undefined;
  /** The board's clock goes on by so much, seconds; it goes by itself, too. */
  advance(seconds: number): void;
  /** The cell is there, with `rep` as its rep, until it is taken away. */
  addCell(cellId: string): Promise<void>;
  removeCell(cellId: string): Promise<void>;
  /** Stops it, and starts another one on the same database. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** The board without anything that a configuration says otherwise: plain HTTP, ports of the system's choice. */
export function completeBbsConfig(config: Record<string, unknown>): BbsConfig {
  const defaults = {
    uuid: 'board-1',
    listen_address: '127.0.0.1:0',
    health_address: '127.0.0.1:0',
    require_ssl: false,
    active_key_label: 'key-1',
    encryption_keys: { 'key-1': 'a passphrase' },
    auctioneer_address: 'http://127.0.0.1:9',
    // Passes run when a spec says so.
    converge_repeat_interval: '1h',
    presence_watch_interval: 0,
  };
  return parseConfig('bbs.yml', { ...defaults, ...config }, bbsConfigSchema);
}

/** Starts a board within this process, on a real database, with a played auctioneer and a played rep around it. */
export async function startBbs({ config = {}, database, logger = silentLogger }: BbsOptions = {}): Promise<RunningBbs> {
  const directory = await mkdtemp(join(tmpdir(), 'bbs-'));
  const [auctioneer, rep] = await Promise.all([startPlayedPeer(), startPlayedPeer()]);
  const rows = database ?? { database_driver: 'sqlite3', database_connection_string: join(directory, 'bbs.db') };
  let aheadNs = 0n;
  const now = () => BigInt(Date.now()) * 1_000_000n + aheadNs;
  const cells = new Set<string>();
  const acquire = (cellId: string) => {
    const presence = {
      cell_id: cellId,
      rep_address: rep.url,
      zone: 'z1',
      capacity: { memory_mb: 1024, disk_mb: 2048, containers: 10 },
      rootfs_provider_list: [{ name: 'preloaded', properties: ['cflinuxfs4'] }],
      rep_url: rep.url,
    };
    const resource = { key: cellId, owner: cellId, value: JSON.stringify(presence), type: 'presence' } as const;
    return running.bbs.locks.acquire(resource, 3_600_000);
  };
  const launch = async () => {
    const bbs = new Bbs({
      config: completeBbsConfig({ ...rows, auctioneer_address: auctioneer.url, ...config }),
      onFatal: (reason) => {
        fatal = reason;
      },
      now,
      logger,
    });
    await bbs.start();
    await bbs.whenActive();
    running.bbs = bbs;
    running.url = `http://127.0.0.1:${bbs.port}`;
    running.healthUrl = `http://127.0.0.1:${bbs.healthPort}`;
    running.client = BbsClient.create({ url: running.url, attempts: 1 });
    await Promise.all([...cells].map(acquire));
  };
  const halt = async () => {
    running.client?.stop();
    await running.bbs?.stop();
  };
  let fatal: string | undefined;
  const running = {
    auctioneer,
    rep,
    get fatal() {
      return fatal;
    },
    advance(seconds: number) {
      aheadNs += BigInt(Math.round(seconds * 1e9));
    },
    async addCell(cellId: string) {
      cells.add(cellId);
      await acquire(cellId);
    },
    async removeCell(cellId: string) {
      cells.delete(cellId);
      await running.bbs.locks.release(cellId, cellId);
    },
    async restart() {
      await halt();
      await launch();
    },
    async stop() {
      await halt();
      await Promise.all([auctioneer.stop(), rep.stop()]);
      await rm(directory, { recursive: true, force: true });
    },
  } as RunningBbs;
  try {
    await launch();
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}
