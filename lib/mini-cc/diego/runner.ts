import type { App } from '../apps/app.js';
import { ApiError } from '../errors.js';
import type { Urls } from '../urls.js';
import { type DiegoContext, desireMessage } from './app-messages.js';
import { processGuid } from './guids.js';
import type { DesireMessage } from './messages.js';
import type { NsyncClient } from './nsync-client.js';

export interface DiegoRunnerOptions {
  nsync: NsyncClient;
  urls: Urls;
  context: DiegoContext;
}

/** Has apps run by Diego, in the version that the app is given in (docs/protocol/legacy-cc.md §9). */
export class DiegoRunner {
  constructor(private readonly options: DiegoRunnerOptions) {}

  /** @throws ApiError AppPackageNotFound without a droplet */
  message(app: App): DesireMessage {
    const { urls, context } = this.options;
    const { guid, droplet_hash: sha1 } = app;
    if (sha1 === null) throw new ApiError('AppPackageNotFound', guid);
    return desireMessage(app, { sha1, url: urls.dropletPermalink(guid, sha1) }, context);
  }

  /** Tells how many instances are to run, and everything about them. @throws ApiError RunnerUnavailable, RunnerError */
  async desire(app: App): Promise<void> {
    await this.options.nsync.desire(this.message(app));
  }

  /** @throws ApiError RunnerUnavailable, RunnerError */
  stop(app: Pick<App, 'guid' | 'version'>): Promise<void> {
    return this.options.nsync.stop(processGuid(app));
  }

  /** @throws ApiError RunnerUnavailable, RunnerError */
  stopIndex(app: Pick<App, 'guid' | 'version'>, index: number): Promise<void> {
    return this.options.nsync.stopIndex(processGuid(app), index);
  }
}
