import { type Identity, readIdentity } from '../http/internal-tls.js';
import type { Logger } from '../logging/logger.js';
import { AppLog } from './app-log.js';
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
import { BoardPeers } from './peers/board-peers.js';
import { CallbackWorkers } from './peers/callback-workers.js';
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

/** How long a cell may be silent before its presence is over (docs/protocol/bbs.md §12). */
const presenceTtlMs = 15_000;

/**
 * What runs while the lock is held (docs/protocol/bbs.md §16):
 *
 *   server ── calls ──┬── board ── store
 *   convergence ──────┤
 *                     └── peers: auctioneer, reps, task callbacks
 */
export class ActiveBoard {
  readonly convergence: Convergence;
  readonly #options: ActiveBoardOptions;
  readonly #events = new EventHub();
  readonly #appLog: AppLog;
  readonly #accessLog: AccessLog | undefined;
  readonly #server: ApiServer;
  readonly #board: Board;
  readonly #peers: BoardPeers;
  readonly #callbacks: CallbackWorkers;
  readonly #indices: Indices;
  readonly #calls: Calls;

  /** @throws when a certificate's file cannot be read */
  constructor(options: ActiveBoardOptions) {
    const { config, logger } = options;
    const identity = config.require_ssl ? ownIdentity(config) : undefined;
    this.#options = options;
    this.#appLog = new AppLog({ dropsondePort: config.dropsonde_port, logger });
    this.#accessLog = config.access_log_path === '' ? undefined : new AccessLog(config.access_log_path);
    this.#server = this.#createServer(identity);
    this.#board = this.#createBoard();
    this.#peers = new BoardPeers(config, logger);
    this.#callbacks = this.#createCallbacks(identity);
    this.#indices = new Indices(this.#board);
    this.#calls = this.#createCalls();
    this.convergence = this.#createConvergence();
  }

  /** @throws when the port is taken, or the database cannot be made this board's */
  async start(): Promise<void> {
    const { config, store, figures, logger } = this.#options;
    this.#appLog.start();
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
    await this.#callbacks.stop();
    await this.#peers.stop();
    await this.#board.stop();
    await this.#accessLog?.stop();
    await this.#appLog.stop();
  }

  #createServer(identity: Identity | undefined): ApiServer {
    const { config, figures, stopMs, logger } = this.#options;
    const accessLog = this.#accessLog;
    return new ApiServer({
      ...config.listen_address,
      tls: identity,
      allowedClients: config.allowed_clients,
      maximumBodyBytes: config.max_request_bytes,
      maximumStreams: config.max_event_streams,
      maximumStreamBytes: config.max_event_stream_bytes,
      heartbeatMs: config.event_heartbeat_interval * 1000,
      stopMs,
      onRequest: (name, durationMs) => figures.requests.add(name, durationMs),
      onInvalid: (...refused) => this.#appLog.refused(...refused),
      ...(accessLog && { onAccess: (...served) => accessLog.add(...served) }),
      logger,
    });
  }

  #createBoard(): Board {
    const { store, mayWrite, onReignLost, onUnrecoverable, now, logger } = this.#options;
    const events = this.#events;
    return new Board({ store, events, mayWrite, onReignLost, onUnrecoverable, ...(now && { now }), logger });
  }

  /** They change tasks, and changes of tasks give them work: the calls are there when the first one comes. */
  #createCallbacks(identity: Identity | undefined): CallbackWorkers {
    const { config, logger } = this.#options;
    return new CallbackWorkers({
      tasks: {
        resolve: async (taskGuid) => (await this.#calls.tasks.resolve(taskGuid, '')) === undefined,
        delete: async (taskGuid) => void (await this.#calls.tasks.delete(taskGuid, '')),
      },
      workers: config.task_callback_workers,
      timeoutMs: config.communication_timeout * 1000,
      tls: identity,
      logger,
    });
  }

  #createCalls(): Calls {
    const { config, cells, logger } = this.#options;
    const [board, indices, callbacks] = [this.#board, this.#indices, this.#callbacks];
    const { auctions, reps } = this.#peers;
    const common = { board, cells, auctions, reps, logger };
    return {
      board,
      cells,
      domains: new DomainCalls(board),
      tasks: new TaskCalls({
        ...common,
        callbacks,
        maximumRetries: config.max_task_retries,
        onTaskOnCell: (cellId, what) => this.#countTask(cellId, what),
      }),
      actualLrps: new ActualLrpCalls({ ...common, indices }),
      desiredLrps: new DesiredLrpCalls({
        ...common,
        indices,
        maximumInstances: config.max_instances_per_desired_lrp,
      }),
    };
  }

  #createConvergence(): Convergence {
    const { config, cells, figures, logger } = this.#options;
    const { board, domains, tasks } = this.#calls;
    const { auctions, reps } = this.#peers;
    const common = { board, auctions, workers: config.convergence_workers, logger };
    return new Convergence({
      board,
      cells,
      lrps: new LrpPass({ ...common, indices: this.#indices, domains, reps }),
      tasks: new TaskPass({ ...common, tasks, callbacks: this.#callbacks, patience: patienceOf(config) }),
      intervalMs: config.converge_repeat_interval * 1000,
      watchIntervalMs: config.presence_watch_interval * 1000,
      patience: {
        startMs: presenceTtlMs,
        emptyMs: (config.lock_ttl + config.lock_retry_interval) * 1000,
      },
      onLrps: (result, durationMs) => figures.convergence.lrps(result, durationMs),
      onTasks: (census, durationMs) => figures.convergence.tasks(census, durationMs),
      logger,
    });
  }

  #countTask(cellId: string, what: keyof typeof taskCounters): void {
    this.#options.figures.sink.add(taskCounters[what], 1, { 'cell-id': cellId });
  }
}

/** A task that was rejected soon after one regular pass is offered again in the next one. */
const partOfInterval = 0.9;

const taskCounters = { started: 'TasksStarted', failed: 'TasksFailed', succeeded: 'TasksSucceeded' } as const;

function patienceOf(config: BbsConfig) {
  return {
    expirePendingSeconds: config.expire_pending_task_duration,
    expireCompletedSeconds: config.expire_completed_task_duration,
    kickSeconds: config.kick_task_duration,
    rejectedSeconds: config.converge_repeat_interval * partOfInterval,
  };
}

/** Also what task callbacks are made with. */
function ownIdentity({ ca_file: caFile, cert_file: certFile, key_file: keyFile }: BbsConfig): Identity {
  return readIdentity({ caFile, certFile, keyFile });
}
