import { CrashRecorder } from '../agents/crash-recorder.js';
import { DeaClient } from '../agents/dea-client.js';
import { DeaHttp } from '../agents/dea-http.js';
import { InstanceReport } from '../agents/instance-report.js';
import { AppActions } from '../apps/app-actions.js';
import { AppController } from '../apps/app-controller.js';
import { InstanceReports } from '../apps/instance-reports.js';
import { ComponentRegistration } from '../component/registration.js';
import { LrpReport } from '../diego/lrp-report.js';
import type { DiegoRunner } from '../diego/runner.js';
import { BulkCredentials } from '../health/bulk-credentials.js';
import { HealthClient } from '../health/health-client.js';
import { OrderTaker } from '../health/order-taker.js';
import { subjects } from '../messages.js';
import { HandOvers } from '../migration/hand-overs.js';
import { HoldClient } from '../migration/hold-client.js';
import { Cells } from '../placement/cells.js';
import type { DiegoStager } from '../staging/diego-stager.js';
import type { Stager } from '../staging/stager.js';
import { TaskController } from '../tasks/task-controller.js';
import type { ControlOptions } from './control-options.js';
import { reachDiego } from './diego.js';
import { appRules, diegoContext, messageContext } from './settings.js';
import { assembleStaging } from './staging.js';

/** Those who speak with agents, with the health manager and with Diego. */
export interface Control {
  cells: Cells;
  stager: Stager;
  controller: AppController;
  tasks: TaskController;
  diegoStager: DiegoStager;
  diego: DiegoRunner;
  handOvers: HandOvers;
  report: InstanceReports;
  orders: OrderTaker;
  registration: ComponentRegistration;
}

/** @throws when the certificates towards agents cannot be read */
export function startControl(options: ControlOptions): Control {
  const { config, access, stores, bus, urls, interceptor, logger, now, random, releases } = options;
  const { apps, events, blobs } = stores;
  const context = messageContext(config, access.spaceGuid);
  const cells = new Cells({
    bus,
    advertisementTimeoutMs: config.dea_advertisement_timeout_in_seconds * 1000,
    minimumStagingMemoryMb: config.staging.minimum_staging_memory_mb,
    minimumStagingDiskMb: config.staging.minimum_staging_disk_mb,
    logger,
    now,
    random,
    onNewStager: () => {
      const links = ingredients.buildpackLinks().map(({ key, url }) => ({ key, url }));
      bus.publish(subjects.buildpacks, links);
    },
  });
  const http = config.dea_client && DeaHttp.create({ files: config.dea_client, interceptor, logger });
  releases.add(() => http?.close());
  const findTimeoutMs = config.find_timeout_in_seconds * 1000;
  const deas = new DeaClient({ bus, cells, urls, context, http, findTimeoutMs, logger });
  const { bridge, diego, nsync, tps, stagerClient } = reachDiego(options);
  const staging = assembleStaging(options, {
    ...{ cells, http, stagerClient },
    onStaged: (app, startsFirst) => controller.startStaged(app, startsFirst),
  });
  const { ingredients, stager, diegoStager, stagers, expiry } = staging;
  const health = new HealthClient({
    bus,
    url: config.hm9000.url,
    internalUrl: config.hm9000.internal_url,
    credentials: access.internal,
    interceptor,
    logger,
  });
  releases.add(() => health.close());
  const holds = new HoldClient({
    url: config.hm9000.internal_url ?? config.hm9000.url,
    credentials: access.internal,
    holdSeconds: config.migration_hold_seconds,
    interceptor,
    logger,
  });
  releases.add(() => holds.close());
  const checkMs = config.migration_check_interval_in_seconds * 1000;
  const handOvers = new HandOvers({ apps, store: stores.handOverStore, holds, deas, diego, tps, checkMs, logger });
  const controller: AppController = new AppController({
    ...{ apps, events, blobs, ingredients, stagers, deas, diego, handOvers, logger },
    actions: new AppActions({ deas, diego, stagers, logger }),
    rules: appRules(config),
  });
  const tasks = new TaskController({
    ...{ apps, nsync, urls, logger },
    tasks: stores.taskStore,
    context: diegoContext(config, access.spaceGuid),
    credentials: access.internal,
    defaultMemory: config.default_app_memory,
    defaultDisk: config.default_app_disk_in_mb,
    maximumDisk: config.maximum_app_disk_in_mb,
  });
  const flappingCrashCount = config.flapping_crash_count_threshold;
  const cellReport = new InstanceReport({ deas, health, flappingCrashCount, events, now });
  const report = new InstanceReports(cellReport, new LrpReport(tps, now));
  const crashes = new CrashRecorder({ bus, apps, events, logger });
  const orders = new OrderTaker({ bus, apps, handOvers, deas, logger });
  const bulkCredentials = new BulkCredentials({ bus, partition: config.cc_partition, credentials: access.bulk });
  const registration = new ComponentRegistration({ bus, index: config.index, host: urls.address, now });
  for (const part of [cells, crashes, stager, expiry, handOvers, orders, bulkCredentials, registration]) {
    part.start();
    releases.add(() => part.stop());
  }
  releases.add(() => diegoStager.stop());
  // The first to go: nobody must have to wait for a bridge that says nothing.
  releases.add(() => bridge.close());
  return { cells, stager, diegoStager, controller, tasks, report, orders, handOvers, diego, registration };
}
