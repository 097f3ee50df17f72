import { randomUUID } from 'node:crypto';
import { errorData, type Logger } from '../../logging/logger.js';
import type { DeaClient } from '../agents/dea-client.js';
import type { Blobstore, PendingBlob } from '../blobs/blobstore.js';
import { blobNames } from '../blobs/names.js';
import type { DiegoRunner } from '../diego/runner.js';
import { ApiError } from '../errors.js';
import type { HandOvers } from '../migration/hand-overs.js';
import type { StagingIngredients } from '../staging/ingredients.js';
import type { Stagers } from '../staging/stagers.js';
import type { AppStore } from '../store/app-store.js';
import type { EventStore } from '../store/event-store.js';
import type { HandOver } from '../store/hand-over-store.js';
import { type App, type AppChange, indexRange, isRunnable } from './app.js';
import type { AppActions } from './app-actions.js';
import { type AppPlan, planChange } from './app-plan.js';

/** Defaults and limits of apps; MB and seconds. */
export interface AppRules {
  defaultStack: string;
  defaultMemory: number;
  defaultDisk: number;
  maximumDisk: number;
  fileDescriptors: number;
  maximumHealthCheckTimeout: number;
  /** Whether new apps are Diego's. */
  defaultDiego: boolean;
  /** Whether users may say who runs an app. */
  canSelectBackend: boolean;
  /** Whether there is a CC-bridge: without one nobody on Diego's side would ever take an app. */
  hasBridge: boolean;
}

export interface AppControllerOptions {
  apps: AppStore;
  events: EventStore;
  blobs: Blobstore;
  ingredients: StagingIngredients;
  stagers: Stagers;
  deas: DeaClient;
  diego: DiegoRunner;
  actions: AppActions;
  handOvers: HandOvers;
  rules: AppRules;
  logger: Logger;
}

/** The changed app, and where to watch its staging when the change began one. */
export interface AppUpdate {
  app: App;
  stagingLogUrl: string | null;
}

/** Droplets kept of each app. */
const keptDroplets = 2;

/** What users do with apps (docs/protocol/legacy-cc.md §9, §11): store the change, then tell the agents or Diego. */
export class AppController {
  constructor(private readonly options: AppControllerOptions) {}

  /** @throws ApiError AppInvalid, AppNameTaken */
  create(change: AppChange): App {
    const { apps, events, rules } = this.options;
    if (change.name === undefined) throw new ApiError('AppInvalid', 'name is missing');
    if (change.state === 'STARTED') throw new ApiError('AppPackageInvalid', 'bits have not been uploaded');
    this.checkRules(change, rules.defaultDiego);
    const app = apps.insert({
      guid: randomUUID(),
      name: change.name,
      version: randomUUID(),
      state: 'STOPPED',
      package_state: 'PENDING',
      instances: change.instances ?? 1,
      memory: change.memory ?? rules.defaultMemory,
      disk_quota: change.disk_quota ?? rules.defaultDisk,
      file_descriptors: change.file_descriptors ?? rules.fileDescriptors,
      stack: change.stack ?? rules.defaultStack,
      buildpack: change.buildpack ?? null,
      command: change.command ?? null,
      env: change.env ?? {},
      routes: change.routes ?? [],
      services: change.services ?? [],
      diego: change.diego ?? rules.defaultDiego,
      health_check_type: change.health_check_type ?? 'port',
      health_check_timeout: change.health_check_timeout ?? null,
      package_hash: null,
      droplet_hash: null,
      staging_task_id: null,
      staging_failed_reason: null,
      staging_failed_description: null,
      detected_buildpack: null,
      detected_start_command: null,
      execution_metadata: null,
      package_pending_since: null,
    });
    events.add(app.guid, 'audit.app.create', { name: app.name });
    return app;
  }

  /** @throws ApiError of the change itself, or of what it leads to; then the change is rolled back */
  async update(guid: string, change: AppChange): Promise<AppUpdate> {
    const { apps, events, handOvers, deas } = this.options;
    const isHeld = await this.holdOnTheWay(guid, change);
    // Nothing is waited for until the change is stored.
    const { before, plan } = this.plan(guid, change, isHeld);
    if (plan.handOver) handOvers.begin(before, plan.handOver);
    const handOver = handOvers.find(guid);
    apps.update(guid, plan.after);
    if (plan.after.state === 'STOPPED') handOvers.end(guid);
    events.add(guid, 'audit.app.update', auditedChange(change));
    const update = await this.carryOut(guid, plan, handOver);
    const { state, instances } = plan.after;
    const isChanged = state !== before.state || instances !== before.instances;
    if (isChanged && !plan.after.diego) deas.announceChange(guid);
    return update;
  }

  /** Of an app that goes to Diego, before it is missed among those that health managers watch. @returns whether it is one */
  private async holdOnTheWay(guid: string, { diego }: AppChange): Promise<boolean> {
    const app = this.options.apps.get(guid);
    const isOnTheWay = diego === true && !app.diego && app.state === 'STARTED';
    if (isOnTheWay) await this.options.handOvers.hold(guid);
    return isOnTheWay;
  }

  /** What can be known beforehand is refused before anything is stored. @throws ApiError */
  private plan(guid: string, change: AppChange, isHeld: boolean): { before: App; plan: AppPlan } {
    const { apps, ingredients, handOvers } = this.options;
    try {
      const before = apps.get(guid);
      this.checkRules(change, before.diego);
      const plan = planChange(before, change, randomUUID(), handOvers.find(guid) !== undefined);
      if (plan.actions.some(({ kind }) => kind === 'stage')) ingredients.check(plan.after);
      else if (startsWithoutPackage(before, plan.after)) {
        throw new ApiError('AppPackageInvalid', 'bits have not been uploaded');
      }
      return { before, plan };
    } catch (error) {
      if (isHeld) handOvers.release(guid);
      throw error;
    }
  }

  /** Stops the app and stages it again. @throws ApiError NotStaged while a staging is under way */
  async restage(guid: string): Promise<AppUpdate> {
    const { apps, ingredients } = this.options;
    const app = apps.get(guid);
    if (app.package_state === 'PENDING' && app.staging_task_id !== null) throw new ApiError('NotStaged');
    ingredients.check(app);
    const stopped = apps.update(guid, { state: 'STOPPED', package_state: 'PENDING', staging_task_id: null });
    await this.stopEverywhere(app);
    if (stopped.instances === 0) return { app: stopped, stagingLogUrl: null };
    return this.update(guid, { state: 'STARTED' });
  }

  /** Stops the app and removes all that is kept of it. */
  async delete(guid: string): Promise<void> {
    const { apps, blobs, stagers, deas, logger } = this.options;
    const app = apps.get(guid);
    const stopped = this.stopEverywhere(app).catch((error) =>
      // Diego stops what it finds no more in the bulk data.
      logger.warn('mini-cc.diego.not-told', { app: guid, ...errorData(error) }),
    );
    apps.delete(guid);
    if (!app.diego) deas.announceChange(guid);
    if (app.package_state === 'PENDING' && app.staging_task_id !== null) {
      stagers.of(app).cancel(guid, app.staging_task_id);
    }
    await Promise.all([
      stopped,
      blobs.delete(blobNames.package(guid)),
      blobs.delete(blobNames.droplets(guid)),
      blobs.delete(blobNames.buildpackCache(guid)),
    ]);
  }

  /**
   * Stops one instance; whoever watches over the app's health replaces it.
   * @throws ApiError InstancesError; RunnerUnavailable, RunnerError of Diego
   */
  async stopInstance(guid: string, index: number): Promise<void> {
    const { apps, deas, diego } = this.options;
    const app = apps.get(guid);
    if (index >= app.instances) throw new ApiError('InstancesError', `there is no instance ${index}`);
    if (app.diego) return diego.stopIndex(app, index);
    deas.stop({ droplet: guid, version: app.version, indices: [index] });
  }

  /** Makes a received zip the app's package; the next start stages it. */
  async storePackage(guid: string, pending: PendingBlob): Promise<App> {
    const { apps, blobs, events } = this.options;
    const { package_hash: before } = apps.get(guid);
    await pending.commit(blobNames.package(guid));
    if (!apps.find(guid)) {
      await blobs.delete(blobNames.package(guid));
      throw new ApiError('AppNotFound', guid);
    }
    events.add(guid, 'audit.app.upload-bits', {
      sha1: pending.sha1,
      bytes: pending.bytes,
      changed: before !== pending.sha1,
    });
    return apps.update(guid, {
      package_hash: pending.sha1,
      package_state: 'PENDING',
      staging_task_id: null,
      staging_failed_reason: null,
      staging_failed_description: null,
    });
  }

  /** Makes a received archive the app's droplet and forgets those before the last one. */
  async storeDroplet(guid: string, pending: PendingBlob): Promise<void> {
    const { apps, blobs } = this.options;
    apps.get(guid);
    await pending.commit(blobNames.droplet(guid, pending.sha1));
    if (!apps.find(guid)) {
      await blobs.delete(blobNames.droplets(guid));
      throw new ApiError('AppNotFound', guid);
    }
    const dropped = apps.addDroplet(guid, pending.sha1, keptDroplets);
    for (const sha1 of dropped) await blobs.delete(blobNames.droplet(guid, sha1));
  }

  /** Makes a received archive the app's buildpack cache. */
  async storeBuildpackCache(guid: string, pending: PendingBlob): Promise<void> {
    this.options.apps.get(guid);
    await pending.commit(blobNames.buildpackCache(guid));
  }

  /** The stager has done its part: starts the app's instances, without the first when the stager starts that. */
  async startStaged(app: App, startsFirst: boolean): Promise<void> {
    if (!isRunnable(app)) return;
    const { deas, diego } = this.options;
    const indices = indexRange(startsFirst ? 1 : 0, app.instances);
    try {
      await (app.diego ? diego.desire(app) : deas.startInstances(app, indices));
    } catch (error) {
      // Nobody waits for an answer any more; the app's events tell.
      this.options.events.add(app.guid, 'app.start-failed', { description: (error as Error).message });
    }
  }

  /** Ends the hand-over that may be under way, and the instances of both sides. */
  private async stopEverywhere(app: App): Promise<void> {
    const { handOvers } = this.options;
    const handOver = handOvers.find(app.guid);
    handOvers.end(app.guid);
    const { actions } = planChange(
      { ...app, state: 'STARTED' },
      { state: 'STOPPED' },
      app.version,
      handOver !== undefined,
    );
    for (const action of actions) {
      if (action.kind !== 'cancel-staging') await this.options.actions.perform(app, action, handOver);
    }
  }

  private async carryOut(guid: string, plan: AppPlan, handOver: HandOver | undefined): Promise<AppUpdate> {
    const { apps, actions } = this.options;
    let stagingLogUrl: string | null = null;
    try {
      for (const action of plan.actions) {
        stagingLogUrl = (await actions.perform(plan.after, action, handOver)) ?? stagingLogUrl;
      }
    } catch (error) {
      this.rollBack(guid, plan);
      throw error;
    }
    return { app: apps.get(guid), stagingLogUrl };
  }

  /** Undoes a failed start, unless the app was changed meanwhile; what was started of it is stopped again. */
  private rollBack(guid: string, { after, rollback }: AppPlan): void {
    const { apps, deas, logger } = this.options;
    const current = apps.find(guid);
    if (!rollback || !current || current.version !== after.version || current.state !== after.state) return;
    try {
      apps.update(guid, rollback.change);
      deas.stop(rollback.stop);
    } catch (error) {
      logger.error('mini-cc.rollback.failed', { app: guid, ...errorData(error) });
    }
  }

  private checkRules(change: AppChange, diego: boolean): void {
    const { maximumDisk, maximumHealthCheckTimeout, canSelectBackend, hasBridge } = this.options.rules;
    const isFlip = (change.diego ?? diego) !== diego;
    if (isFlip && !canSelectBackend) throw new ApiError('BackendSelectionNotAuthorized');
    if (isFlip && change.diego && !hasBridge) {
      throw new ApiError('RunnerUnavailable', 'invalid config: there is no CC-bridge');
    }
    if ((change.disk_quota ?? 0) > maximumDisk) {
      throw new ApiError('AppInvalid', `too much disk requested (must be less than ${maximumDisk})`);
    }
    if ((change.health_check_timeout ?? 0) > maximumHealthCheckTimeout) {
      throw new ApiError('AppInvalid', `health_check_timeout exceeds the maximum: max ${maximumHealthCheckTimeout}`);
    }
  }
}

function startsWithoutPackage(before: App, after: App): boolean {
  return before.state === 'STOPPED' && after.state === 'STARTED' && after.package_hash === null;
}

/** Events are read by more people than an app's secrets are meant for. */
function auditedChange({ env, services, ...change }: AppChange): Record<string, unknown> {
  return {
    ...change,
    ...(env && { env: Object.keys(env) }),
    ...(services && { services: services.map(({ name }) => name) }),
  };
}
