import { ApiError } from '../errors.js';
import { type Bridge, type BridgeRequest, BridgeUnreachableError } from './bridge.js';
import { bridgePaths, type DesireMessage, type TaskMessage } from './messages.js';

/** Tells nsync what is to run on Diego (docs/protocol/legacy-cc.md §9.1). */
export class NsyncClient {
  /** @param url undefined where no bridge is configured */
  constructor(
    private readonly bridge: Bridge,
    private readonly url: string | undefined,
  ) {}

  /** @throws ApiError RunnerUnavailable, RunnerError */
  async desire(message: DesireMessage): Promise<void> {
    const path = bridgePaths.app(message.process_guid);
    await this.ask({ method: 'PUT', path, body: message }, 'desire app', [202]);
  }

  /** @throws ApiError RunnerUnavailable, RunnerError */
  async stop(processGuid: string): Promise<void> {
    await this.ask({ method: 'DELETE', path: bridgePaths.app(processGuid) }, 'stop app', [202, 404]);
  }

  /** Stops one instance; Diego replaces it. @throws ApiError RunnerUnavailable, RunnerError */
  async stopIndex(processGuid: string, index: number): Promise<void> {
    await this.ask({ method: 'DELETE', path: bridgePaths.index(processGuid, index) }, 'stop index', [202, 404]);
  }

  /** @throws ApiError InvalidTaskAddress, TaskWorkersUnavailable, TaskError */
  async desireTask(message: TaskMessage): Promise<void> {
    const status = await this.askOfTasks({ method: 'POST', path: bridgePaths.tasks, body: message });
    if (status !== 202) throw new ApiError('TaskError', `response code: ${status}`);
  }

  /** @returns the answer's status: what else than 202 comes is no error @throws ApiError InvalidTaskAddress, TaskWorkersUnavailable */
  cancelTask(taskGuid: string): Promise<number> {
    return this.askOfTasks({ method: 'DELETE', path: bridgePaths.task(taskGuid) });
  }

  private async askOfTasks(request: BridgeRequest): Promise<number> {
    if (this.url === undefined) throw new ApiError('InvalidTaskAddress', 'Diego Task URL does not exist.');
    try {
      return (await this.bridge.ask(this.url, request)).status;
    } catch (error) {
      if (!(error instanceof BridgeUnreachableError)) throw error;
      throw new ApiError('TaskWorkersUnavailable', error.message, { cause: error });
    }
  }

  private async ask(request: BridgeRequest, what: string, good: number[]): Promise<void> {
    if (this.url === undefined) throw new ApiError('RunnerUnavailable', 'invalid config: no diego_nsync_url');
    let status: number;
    try {
      ({ status } = await this.bridge.ask(this.url, request));
    } catch (error) {
      if (!(error instanceof BridgeUnreachableError)) throw error;
      throw new ApiError('RunnerUnavailable', error.message, { cause: error });
    }
    if (!good.includes(status)) throw new ApiError('RunnerError', `${what} failed: ${status}`);
  }
}
