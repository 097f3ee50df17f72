import { type Identity, readIdentity } from '../http/internal-tls.js';
import type { Logger } from '../logging/logger.js';
import { ActualLrpCalls } from './board/actual-lrp-calls.js';
import { Board } from './board/board.js';
import type { Calls } from './board/calls.js';
import { DesiredLrpCalls } from './board/desired-lrp-calls.js';
import { DomainCalls } from './board/domain-calls.js';
import { Indices } from './board/indices.js';
import { TaskCalls } from './board/task-calls.js';
import type { BbsConfig } from './config.js';
import { Convergence } from './convergence/convergence.js';
import { LrpPass } from './convergence/lrp-pass.js';
import { TaskPass } from './convergence/task-pass.js';
import { EventHub } from './events/event-hub.js';
import type { Figures } from './figures/figures.js';
import { Auctioneer } from './peers/auctioneer.js';
import { CallbackWorkers } from './peers/callback-workers.js';
import { HttpReps } from './peers/http-reps.js';
import { PeerClient } from './peers/peer-client.js';
import type { Cells } from './peers/peers.js';
import { AccessLog } from './server/access-log.js';
import { ApiServer } from './server/api-server.js';
import { endpointsOf } from './server/handlers/handlers.js';
import type { Store } from './storage/store.js';

export interface ActiveBoardOptions {
  config: BbsConfig;
  /** Started. */
  store: Store;
  cells: Cells;
  figures: Figures;
  /** Whether this board is the one that may write, at this moment. */
  mayWrite: () => boolean;
  onReignLost: () => void;
  onUnrecoverable: (reason: string) => void;
  /** Nanoseconds since 1970. @default the system's clock */
  now?: (() => bigint) | undefined;
  /** So long are requests waited for when the server stops, ms. */
  stopMs: number;
  logger: Logger;
}

/** How long a cell may be silent before it counts as gone (docs/protocol/bbs.md §12). */
const presenceTtlMs = 15_000;

/** What runs while the lock is held: the API, and the upkeep behind it (docs/protocol/bbs.md §16). */
export class ActiveBoard {
  readonly convergence: Convergence;
  readonly #options: ActiveBoardOptions;
  readonly #server: ApiServer;
  readonly #accessLog: AccessLog | undefined;
  readonly #board: Board;
  readonly #calls: Calls;
  readonly #peers: { stop(): Promise<void> }[];
  readonly #events = new EventHub();

  /** @throws when a certificate's file cannot be read */
  constructor(options: ActiveBoardOptions) {
    const { config, store, figures, cells, logger } = options;
    this.#options = options;
    const { mayWrite, onReignLost, onUnrecoverable, now } = options;
    const identity = config.require_ssl ? ownIdentity(config) : undefined;
    this.#accessLog = config.access_log_path === '' ? undefined : new AccessLog(config.access_log_path);
    this.#server = this.#createServer(identity);
    const ends = { onReignLost, onUnrecoverable };
    const board = new Board({ store, events: this.#events, mayWrite, ...ends, ...(now && { now }), logger });
    this.#board = board;

    const timeoutMs = config.communication_timeout * 1000;
    const auctioneerClient = new PeerClient({ tls: auctioneerIdentity(config), timeoutMs, connections: 2 });
    const repClient = new PeerClient({ tls: repIdentity(config), timeoutMs });
    const { auctioneer_address: address, auctioneer_require_tls: requireTls } = config;
    const auctions = new Auctioneer({ address, requireTls, client: auctioneerClient, logger });
    const reps = new HttpReps(repClient);
    const callbacks: CallbackWorkers = new CallbackWorkers({
      tasks: {
        resolve: async (taskGuid) => (await tasks.resolve(taskGuid, '')) === undefined,
        delete: async (taskGuid) => void (await tasks.delete(taskGuid, '')),
      },
      workers: config.task_callback_workers,
      timeoutMs,
      tls: identity,
      logger,
    });
    this.#peers = [callbacks, auctions, auctioneerClient, repClient];

    const indices = new Indices(board);
    const peers = { auctions, cells, reps };
    const { sink } = figures;
    const tasks = new TaskCalls({
      board,
      ...peers,
      callbacks,
      maximumRetries: config.max_task_retries,
      onTaskOnCell: (cellId, what) => sink.add(taskCounters[what], 1, { 'cell-id': cellId }),
      logger,
    });
    const domains = new DomainCalls(board);
    const { max_instances_per_desired_lrp: maximumInstances, convergence_workers: workers } = config;
    this.#calls = {
      board,
      cells,
      domains,
      tasks,
      actualLrps: new ActualLrpCalls({ board, indices, ...peers }),
      desiredLrps: new DesiredLrpCalls({ board, indices, ...peers, maximumInstances, logger }),
    };
    this.convergence = new Convergence({
      board,
      cells,
      lrps: new LrpPass({ board, indices, domains, auctions, reps, workers, logger }),
      tasks: new TaskPass({ board, tasks, auctions, callbacks, patience: patienceOf(config), workers, logger }),
      intervalMs: config.converge_repeat_interval * 1000,
      watchIntervalMs: config.presence_watch_interval * 1000,
      presenceTtlMs,
      onLrps: (result, durationMs) => figures.convergence.lrps(result, durationMs),
      onTasks: (census, durationMs) => figures.convergence.tasks(census, durationMs),
      logger,
    });
  }

  /** @throws when the port is taken, or the database cannot be made this board's */
  async start(): Promise<void> {
    const { config, store, figures, logger } = this.#options;
    await this.#accessLog?.start();
    await this.#server.start();
    const begun = performance.now();
    await store.take();
    await this.#board.start();
    const { actual, desired, tasks } = this.#board.image;
    logger.info('bbs.board.read', {
      desired_lrps: desired.outlines.size,
      actual_lrps: actual.count,
      tasks: tasks.size,
      duration_ms: Math.round(performance.now() - begun),
    });
    const endpoints = endpointsOf(this.#calls, { servesRemovedRoutes: config.serve_removed_routes });
    this.#server.serve({ endpoints, events: this.#events });
    figures.sink.set('BBSMasterElected', 1);
    this.convergence.start();
  }

  get port(): number {
    return this.#server.port;
  }

  /** Ends event streams properly, for a process that has no time for more. */
  endStreams(): void {
    this.#server.endStreams();
  }

  /** Answers what was asked, then lets go of everything but the store. Idempotent. */
  async stop(): Promise<void> {
    await this.convergence.stop();
    await this.#server.stop();
    for (const peer of this.#peers) await peer.stop();
    await this.#board.stop();
    await this.#accessLog?.stop();
  }

  #createServer(identity: Identity | undefined): ApiServer {
    const { config, figures, stopMs, logger } = this.#options;
    const accessLog = this.#accessLog;
    return new ApiServer({
      ...config.listen_address,
      tls: identity,
      maximumBodyBytes: config.max_request_bytes,
      maximumStreams: config.max_event_streams,
      maximumStreamBytes: config.max_event_stream_bytes,
      heartbeatMs: config.event_heartbeat_interval * 1000,
      stopMs,
      onRequest: (name, durationMs) => figures.requests.add(name, durationMs),
      ...(accessLog && { onAccess: (...served) => accessLog.add(...served) }),
      logger,
    });
  }
}

const taskCounters = { started: 'TasksStarted', failed: 'TasksFailed', succeeded: 'TasksSucceeded' } as const;

function patienceOf(config: BbsConfig) {
  return {
    expirePendingSeconds: config.expire_pending_task_duration,
    expireCompletedSeconds: config.expire_completed_task_duration,
    kickSeconds: config.kick_task_duration,
  };
}

/** Also what task callbacks are made with. */
export function ownIdentity({ ca_file, cert_file, key_file }: BbsConfig): Identity {
  return readIdentity({ caFile: ca_file, certFile: cert_file, keyFile: key_file });
}

function auctioneerIdentity(config: BbsConfig): Identity | undefined {
  const { auctioneer_ca_cert: caFile, auctioneer_client_cert: certFile, auctioneer_client_key: keyFile } = config;
  return caFile === '' ? undefined : readIdentity({ caFile, certFile, keyFile });
}

function repIdentity(config: BbsConfig): Identity | undefined {
  const { rep_ca_cert: caFile, rep_client_cert: certFile, rep_client_key: keyFile } = config;
  return caFile === '' ? undefined : readIdentity({ caFile, certFile, keyFile });
}
