import { type Bridge, BridgeUnreachableError } from './bridge.js';
import { bridgePaths, type Lrp, lrpsSchema } from './messages.js';

/** What runs on Diego cannot be said now. */
export class TpsUnavailableError extends Error {}

/** Asks tps what runs on Diego (docs/protocol/legacy-cc.md §9.1, §9.4). */
export class TpsClient {
  /** @param url undefined where no bridge is configured */
  constructor(
    private readonly bridge: Bridge,
    private readonly url: string | undefined,
  ) {}

  /** A process that tps does not know has no instances. @throws TpsUnavailableError */
  instances(processGuid: string): Promise<Lrp[]> {
    return this.ask(bridgePaths.actualLrps(processGuid));
  }

  /** @param authorization the user's own, which tps passes on @throws TpsUnavailableError */
  stats(processGuid: string, authorization: string | undefined): Promise<Lrp[]> {
    return this.ask(bridgePaths.stats(processGuid), authorization);
  }

  private async ask(path: string, authorization?: string): Promise<Lrp[]> {
    if (this.url === undefined) throw new TpsUnavailableError('invalid config: no diego_tps_url');
    const { status, text } = await this.bridge.ask(this.url, { method: 'GET', path, authorization }).catch((error) => {
      if (!(error instanceof BridgeUnreachableError)) throw error;
      throw new TpsUnavailableError(error.message, { cause: error });
    });
    if (status === 404) return [];
    if (status !== 200) throw new TpsUnavailableError(`response code: ${status}`);
    try {
      return lrpsSchema.parse(JSON.parse(text));
    } catch (cause) {
      throw new TpsUnavailableError('the answer of tps is malformed', { cause });
    }
  }
}
