import { json, type Request, type Response, Router } from 'express';
import type { z } from 'zod';
import { type App, type AppChange, appChangeSchema } from '../apps/app.js';
import type { AppController } from '../apps/app-controller.js';
import type { InstanceReports } from '../apps/instance-reports.js';
import type { Blobstore, PendingBlob } from '../blobs/blobstore.js';
import { ApiError } from '../errors.js';
import type { HandOvers } from '../migration/hand-overs.js';
import type { Cells } from '../placement/cells.js';
import type { AppStore } from '../store/app-store.js';
import type { EventStore } from '../store/event-store.js';
import type { Job, JobStore } from '../store/job-store.js';
import { receiveUpload, UploadRefusedError } from './upload.js';
import { checkZip, InvalidZipError } from './zip-check.js';

export interface ClientApiOptions {
  apps: AppStore;
  events: EventStore;
  blobs: Blobstore;
  jobs: JobStore;
  cells: Cells;
  controller: AppController;
  handOvers: HandOvers;
  report: InstanceReports;
  maximumPackageBytes: number;
}

/** Users' requests about apps, behind the bearer token (docs/protocol/legacy-cc.md §8, §11, §12). */
export function clientApi(options: ClientApiOptions): Router {
  const { apps, events, jobs, cells, controller, handOvers, report } = options;
  const router = Router();
  const body = json({ limit: '1mb' });

  router.get('/apps', async (request, response) => {
    const { name } = request.query;
    const chosen = apps.list().filter((app) => typeof name !== 'string' || app.name === name);
    response.json({ total_results: chosen.length, resources: await describe(chosen) });
  });

  router.post('/apps', body, (request, response) => {
    response.status(201).json(controller.create(parseChange(request.body)));
  });

  router.get('/apps/:guid', async (request, response) => {
    const [described] = await describe([apps.get(request.params.guid)]);
    response.json(described);
  });

  router.put('/apps/:guid', body, async (request, response) => {
    const { app, stagingLogUrl } = await controller.update(guidOf(request), parseChange(request.body));
    if (stagingLogUrl !== null) response.set('X-App-Staging-Log', stagingLogUrl);
    response.status(201).json(app);
  });

  router.delete('/apps/:guid', async (request, response) => {
    await controller.delete(request.params.guid);
    response.status(204).end();
  });

  router.put('/apps/:guid/bits', async (request, response) => {
    const app = apps.get(request.params.guid);
    const pending = await receivePackage(request, response);
    const store = () => controller.storePackage(app.guid, pending).finally(() => pending.discard());
    if (request.query.async === 'true') {
      response.status(201).json(jobBody(await jobs.enqueue(async () => void (await store()))));
      return;
    }
    response.status(201).json(await store());
  });

  router.get('/jobs/:guid', (request, response) => {
    response.json(jobBody(jobs.find(request.params.guid)));
  });

  router.post('/apps/:guid/restage', async (request, response) => {
    const { app, stagingLogUrl } = await controller.restage(request.params.guid);
    if (stagingLogUrl !== null) response.set('X-App-Staging-Log', stagingLogUrl);
    response.status(201).json(app);
  });

  router.get('/apps/:guid/staging', (request, response) => {
    const { package_state, staging_task_id, staging_failed_reason, staging_failed_description, detected_buildpack } =
      apps.get(request.params.guid);
    response.json({
      package_state,
      staging_task_id,
      staging_failed_reason,
      staging_failed_description,
      detected_buildpack,
    });
  });

  router.get('/apps/:guid/instances', async (request, response) => {
    response.json(await report.instances(apps.get(request.params.guid)));
  });

  router.delete('/apps/:guid/instances/:index', async (request, response) => {
    const index = Number(request.params.index);
    if (!Number.isInteger(index) || index < 0) throw new ApiError('BadQueryParameter', 'index');
    await controller.stopInstance(request.params.guid, index);
    response.status(204).end();
  });

  router.get('/apps/:guid/stats', async (request, response) => {
    response.json(await report.stats(apps.get(request.params.guid), request.headers.authorization));
  });

  router.get('/apps/:guid/hand_over', async (request, response) => {
    const app = apps.get(request.params.guid);
    const instances = await handOvers.counts(app);
    const { target = null, begun_at = null } = handOvers.find(app.guid) ?? {};
    response.json({ diego: app.diego, target, begun_at, instances });
  });

  router.get('/apps/:guid/crashes', async (request, response) => {
    response.json(await report.crashes(apps.get(request.params.guid)));
  });

  router.get('/apps/:guid/events', (request, response) => {
    response.json({ resources: events.list(apps.get(request.params.guid).guid) });
  });

  router.get('/apps/:guid/instances/:instance/files{/*path}', async (request, response) => {
    const { guid, instance, path } = request.params;
    // The root is asked for with a null path; an empty one would be another file.
    const file = path === undefined ? null : path.join('/') || null;
    const url = await report.fileUrl(apps.get(guid), instance, file);
    const { tail } = request.query;
    // As it came: the URL is signed, and any other spelling of it would not be.
    response.set('Location', typeof tail === 'string' ? `${url}&tail=${encodeURIComponent(tail)}` : url);
    response.status(302).end();
  });

  router.get('/cells', (_request, response) => {
    response.json({ resources: cells.list() });
  });

  /** The apps, and how many of their instances run, -1 when that is not known (§8). */
  async function describe(chosen: App[]): Promise<(App & { running_instances: number })[]> {
    const running = await report.runningInstances(chosen);
    return chosen.map((app) => ({
      ...app,
      running_instances: running.get(app.guid) ?? (app.state === 'STOPPED' ? 0 : -1),
    }));
  }

  async function receivePackage(request: Request, response: Response): Promise<PendingBlob> {
    let pending: PendingBlob | undefined;
    try {
      pending = await receiveUpload(request, response, {
        blobs: options.blobs,
        field: 'application',
        maximumBytes: options.maximumPackageBytes,
      });
      refuseResources(request.body);
      await checkZip(pending.path);
      return pending;
    } catch (error) {
      await pending?.discard();
      if (!(error instanceof UploadRefusedError || error instanceof InvalidZipError)) throw error;
      throw new ApiError('AppBitsUploadInvalid', error.message, { cause: error });
    }
  }

  return router;
}

/** Files that the client believes to be here already: there is no store of single files, so the list must be empty. */
function refuseResources(form: unknown): void {
  const { resources } = (form ?? {}) as { resources?: unknown };
  if (resources === undefined || (typeof resources === 'string' && /^\s*(\[\s*\])?\s*$/.test(resources))) return;
  throw new ApiError('AppBitsUploadInvalid', 'resources are not kept here; send all files');
}

function guidOf(request: Request<{ guid: string }>): string {
  return request.params.guid;
}

/** @throws ApiError AppInvalid naming each faulty field */
function parseChange(value: unknown): AppChange {
  const result = appChangeSchema.safeParse(value);
  if (result.success) return result.data;
  throw new ApiError('AppInvalid', result.error.issues.map(describeIssue).join('; '));
}

function describeIssue({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

/** A job that is unknown has ended and was forgotten. */
function jobBody(job: Job | undefined) {
  if (!job) return { metadata: { guid: '0', url: '/v2/jobs/0' }, entity: { guid: '0', status: 'finished' } };
  const { guid, status, error, created_at } = job;
  return {
    metadata: { guid, created_at, url: `/v2/jobs/${guid}` },
    entity: { guid, status, ...(error && { error: error.description, error_details: error }) },
  };
}
