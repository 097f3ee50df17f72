import { setTimeout as pause } from 'node:timers/promises';
import { Agent, type Dispatcher, interceptors } from 'undici';
import type { Identity } from '../../http/internal-tls.js';
import { errorData, type Logger } from '../../logging/logger.js';
import { toJson } from '../messages/json/print.js';
import { type Task, TaskCallbackResponse } from '../messages/models.js';
import type { Callbacks } from './peers.js';

/** What is done to the task itself. */
export interface CallbackTasks {
  /** @returns whether it is resolving now: somebody else may have been faster */
  resolve(taskGuid: string): Promise<boolean>;
  delete(taskGuid: string): Promise<void>;
}

export interface CallbackWorkersOptions {
  tasks: CallbackTasks;
  /** Requests at the same time. */
  workers: number;
  /** Of one attempt, ms. */
  timeoutMs: number;
  tls?: Identity | undefined;
  /** Before the first repetition, ms; then it doubles. @default 200 */
  pauseMs?: number;
  logger: Logger;
}

const attempts = 3;
const redirects = 10;
/** Of the peer, or of what stands before it: ask again. */
const passing = [503, 504];

type Attempt = 'told' | 'again' | 'given-up';

/**
 * Tells those who wanted to know that a task is completed (docs/protocol/bbs.md §9.1). Tasks of which nobody can be
 * told stay Resolving: convergence offers them again.
 */
export class CallbackWorkers implements Callbacks {
  readonly #agent: Agent;
  readonly #redirected: Dispatcher;
  readonly #waiting: Task[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(private readonly options: CallbackWorkersOptions) {
    this.#agent = new Agent({ pipelining: 0, connect: { ...options.tls, timeout: options.timeoutMs } });
    this.#redirected = this.#agent.compose(interceptors.redirect({ maxRedirections: redirects }));
  }

  submit(task: Task): void {
    if (this.#stopping.signal.aborted) return;
    this.#waiting.push(task);
    this.#work();
  }

  /** Cuts what is under way. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#waiting.length = 0;
    await Promise.all(this.#running);
    await this.#agent.destroy();
  }

  #work(): void {
    while (this.#running.size < this.options.workers) {
      const task = this.#waiting.shift();
      if (!task) return;
      const running = this.#tell(task).finally(() => {
        this.#running.delete(running);
        this.#work();
      });
      this.#running.add(running);
    }
  }

  async #tell(task: Task): Promise<void> {
    const { tasks, logger } = this.options;
    const { taskGuid } = task;
    try {
      if (!(await tasks.resolve(taskGuid))) return;
      if (await this.#isTold(task)) await tasks.delete(taskGuid);
    } catch (error) {
      if (!this.#stopping.signal.aborted) {
        logger.warn('bbs.task.callback-failed', { task_guid: taskGuid, ...errorData(error) });
      }
    }
  }

  async #isTold(task: Task): Promise<boolean> {
    const { pauseMs = 200 } = this.options;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const outcome = await this.#attempt(task);
      if (outcome !== 'again') return outcome === 'told';
      if (attempt < attempts) {
        await pause(pauseMs * 2 ** (attempt - 1), undefined, { signal: this.#stopping.signal });
      }
    }
    return false;
  }

  async #attempt(task: Task): Promise<Attempt> {
    const timeout = AbortSignal.timeout(this.options.timeoutMs);
    try {
      const { origin, pathname, search } = new URL(task.taskDefinition!.completionCallbackUrl);
      const response = await this.#redirected.request({
        origin,
        path: `${pathname}${search}`,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: bodyOf(task),
        signal: AbortSignal.any([timeout, this.#stopping.signal]),
      });
      await response.body.dump();
      return outcomeOf(response);
    } catch (error) {
      const { logger } = this.options;
      logger.warn('bbs.task.callback-attempt-failed', { task_guid: task.taskGuid, ...errorData(error) });
      return timeout.aborted ? 'again' : 'given-up';
    }
  }
}

/** Who is still sent on after so many redirects has told nobody. */
function outcomeOf({ statusCode, headers }: Dispatcher.ResponseData): Attempt {
  if (passing.includes(statusCode)) return 'again';
  const isSentOn = statusCode >= 300 && statusCode < 400 && headers.location !== undefined;
  return isSentOn ? 'given-up' : 'told';
}

function bodyOf({ taskGuid, failed, failureReason, result, taskDefinition, createdAt }: Task): string {
  const annotation = taskDefinition?.annotation ?? '';
  return toJson(
    TaskCallbackResponse,
    TaskCallbackResponse.create({ taskGuid, failed, failureReason, result, annotation, createdAt }),
  );
}
