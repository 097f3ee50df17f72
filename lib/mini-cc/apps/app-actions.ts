import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaClient } from '../agents/dea-client.js';
import type { DiegoRunner } from '../diego/runner.js';
import type { Stagers } from '../staging/stagers.js';
import type { HandOver } from '../store/hand-over-store.js';
import type { App } from './app.js';
import type { AppAction } from './app-plan.js';

export interface AppActionsOptions {
  deas: DeaClient;
  diego: DiegoRunner;
  stagers: Stagers;
  logger: Logger;
}

/** Tells agents and Diego what a plan says. */
export class AppActions {
  constructor(private readonly options: AppActionsOptions) {}

  /**
   * @param handOver the one that is under way: what the side that is left has of the app is in its version
   * @returns where to watch a staging that was begun
   * @throws ApiError when it could not be done
   */
  async perform(app: App, action: AppAction, handOver: HandOver | undefined): Promise<string | null> {
    const { deas, diego, stagers } = this.options;
    switch (action.kind) {
      case 'stop':
        deas.stop(action.message);
        return null;
      case 'cancel-staging':
        stagers.of({ diego: action.backend === 'diego' }).cancel(app.guid, action.taskId);
        return null;
      case 'update-routes':
        deas.updateRoutes(handOver?.target === 'diego' ? { ...app, version: handOver.version } : app);
        return null;
      case 'start':
        await deas.startInstances(app, action.indices);
        return null;
      case 'start-missing':
        await this.startMissing(app, action.indices);
        return null;
      case 'stage':
        return stagers.of(app).stage(app);
      case 'desire':
        await this.aside(app, action, diego.desire(asDiegoHasIt(app, handOver)));
        return null;
      case 'undesire':
        await this.aside(app, action, diego.stop(asDiegoHasIt(app, handOver)));
        return null;
    }
  }

  private async startMissing(app: App, indices: number[]): Promise<void> {
    const { deas } = this.options;
    const { guid: droplet, version } = app;
    const living = await deas.findInstances({ droplet, version, states: ['STARTING', 'RUNNING'] }, indices);
    await deas.startInstances(
      app,
      indices.filter((index) => !living.has(index)),
    );
  }

  /** What is Diego's no more is put right by the bridge's next look at the bulk data. */
  private async aside(app: App, { isAside }: { isAside: boolean }, told: Promise<void>): Promise<void> {
    if (!isAside) return told;
    await told.catch((error) =>
      this.options.logger.warn('mini-cc.diego.not-told', { app: app.guid, ...errorData(error) }),
    );
  }
}

/** On the way back to cells, Diego goes on with the version that it had. */
function asDiegoHasIt(app: App, handOver: HandOver | undefined): App {
  return handOver?.target === 'dea' ? { ...app, version: handOver.version } : app;
}
