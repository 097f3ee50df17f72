import { ApiError } from '../errors.js';
import { type Bridge, type BridgeAnswer, type BridgeRequest, BridgeUnreachableError } from './bridge.js';
import { bridgePaths, refusalSchema, type StagingRequest } from './messages.js';

/** Has Diego stage apps (docs/protocol/legacy-cc.md §9.1). */
export class StagerClient {
  /** @param url undefined where no bridge is configured */
  constructor(
    private readonly bridge: Bridge,
    private readonly url: string | undefined,
  ) {}

  /** @throws ApiError StagerUnavailable, StagerError with what the stager says */
  async stage(stagingGuid: string, request: StagingRequest): Promise<void> {
    const answer = await this.ask({ method: 'PUT', path: bridgePaths.staging(stagingGuid), body: request });
    if (answer.status !== 202) throw new ApiError('StagerError', `staging failed: ${reasonOf(answer)}`);
  }

  /** @throws ApiError StagerUnavailable, StagerError */
  async stop(stagingGuid: string): Promise<void> {
    const { status } = await this.ask({ method: 'DELETE', path: bridgePaths.staging(stagingGuid) });
    if (status !== 202 && status !== 404) throw new ApiError('StagerError', `stop failed: ${status}`);
  }

  private async ask(request: BridgeRequest): Promise<BridgeAnswer> {
    if (this.url === undefined) throw new ApiError('StagerUnavailable', 'invalid config: no diego_stager_url');
    try {
      return await this.bridge.ask(this.url, request);
    } catch (error) {
      if (!(error instanceof BridgeUnreachableError)) throw error;
      throw new ApiError('StagerUnavailable', error.message, { cause: error });
    }
  }
}

function reasonOf({ status, text }: BridgeAnswer): string {
  try {
    return refusalSchema.parse(JSON.parse(text)).error.message;
  } catch {
    return String(status); // The stager has not said why.
  }
}
