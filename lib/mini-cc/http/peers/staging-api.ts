import { type Request, type Response, Router } from 'express';
import type { AppController } from '../../apps/app-controller.js';
import type { Blobstore, PendingBlob } from '../../blobs/blobstore.js';
import { blobNames } from '../../blobs/names.js';
import { ApiError } from '../../errors.js';
import type { AppStore } from '../../store/app-store.js';
import { type BuildpackStore, buildpackKey } from '../../store/buildpack-store.js';
import type { Job, JobStore } from '../../store/job-store.js';
import type { Urls } from '../../urls.js';
import { requireBasicCredentials } from '../authentication.js';
import { sendBlob } from '../send-blob.js';
import { receiveUpload, UploadRefusedError } from '../upload.js';

export interface StagingApiOptions {
  apps: AppStore;
  buildpacks: BuildpackStore;
  blobs: Blobstore;
  jobs: JobStore;
  controller: AppController;
  urls: Urls;
  user: string;
  password: string;
  maximumDropletBytes: number;
}

/** What stagers and agents fetch and bring (docs/protocol/legacy-cc.md §5.3), with Basic authentication. */
export function stagingApi(options: StagingApiOptions): Router {
  const { apps, buildpacks, blobs, jobs, controller, urls } = options;
  const router = Router();
  const authenticate = requireBasicCredentials({ user: options.user, password: options.password }, 'blobs');
  router.use('/staging', authenticate);

  router.get('/staging/apps/:guid', async (request, response) => {
    const app = apps.get(request.params.guid);
    const path = await blobs.find(blobNames.package(app.guid));
    if (app.package_hash === null || path === undefined) throw new ApiError('AppPackageNotFound', app.guid);
    await sendBlob(response, { path, contentType: 'application/zip', sha1: app.package_hash });
  });

  router.get('/staging/droplets/:guid/download', async (request, response) => {
    const app = apps.get(request.params.guid);
    await sendDroplet(app.guid, app.droplet_hash, response);
  });

  // Where there are no credentials, knowing the checksum of the current droplet takes their place.
  router.get('/internal/v2/droplets/:guid/:hash/download', async (request, response) => {
    const app = apps.get(request.params.guid);
    if (app.droplet_hash !== request.params.hash) throw new ApiError('NotFound');
    await sendDroplet(app.guid, app.droplet_hash, response);
  });

  router.post('/staging/droplets/:guid/upload', async (request, response) => {
    const app = apps.get(request.params.guid);
    const pending = await receive(request, response, app.guid);
    const store = () => controller.storeDroplet(app.guid, pending).finally(() => pending.discard());
    if (request.query.async === 'true') {
      response.json(jobBody(await jobs.enqueue(store)));
      return;
    }
    await store();
    response.end();
  });

  router.get('/staging/jobs/:guid', (request: Request<{ guid: string }>, response) => {
    response.json(jobBody(jobs.find(request.params.guid)));
  });

  router.get('/staging/buildpack_cache/:guid/download', async (request, response) => {
    const app = apps.get(request.params.guid);
    const path = await blobs.find(blobNames.buildpackCache(app.guid));
    if (path === undefined) throw new ApiError('StagingError', `buildpack cache not found for ${app.guid}`);
    await sendBlob(response, { path, contentType: 'application/gzip' });
  });

  router.post('/staging/buildpack_cache/:guid/upload', async (request, response) => {
    const app = apps.get(request.params.guid);
    const pending = await receive(request, response, app.guid);
    await jobs.enqueue(() => controller.storeBuildpackCache(app.guid, pending).finally(() => pending.discard()));
    response.end();
  });

  router.get('/v2/buildpacks/:guid/download', authenticate, async (request: Request<{ guid: string }>, response) => {
    const buildpack = buildpacks.get(request.params.guid);
    const path = buildpack.sha1 === null ? undefined : await blobs.find(blobNames.buildpack(buildpackKey(buildpack)));
    if (path === undefined) throw new ApiError('NotFound');
    await sendBlob(response, { path, contentType: 'application/zip', sha1: buildpack.sha1 });
  });

  async function sendDroplet(guid: string, sha1: string | null, response: Response): Promise<void> {
    const path = sha1 === null ? undefined : await blobs.find(blobNames.droplet(guid, sha1));
    if (path === undefined) throw new ApiError('StagingError', `droplet not found for ${guid}`);
    await sendBlob(response, { path, contentType: 'application/gzip', sha1 });
  }

  async function receive(request: Request, response: Response, guid: string): Promise<PendingBlob> {
    try {
      return await receiveUpload(request, response, {
        blobs,
        field: 'upload[droplet]',
        maximumBytes: options.maximumDropletBytes,
      });
    } catch (error) {
      if (!(error instanceof UploadRefusedError)) throw error;
      const text = error.message.startsWith('content md5')
        ? error.message
        : `malformed droplet upload request for ${guid}: ${error.message}`;
      throw new ApiError('StagingError', text, { cause: error });
    }
  }

  /** A job that is unknown has ended and was forgotten. */
  function jobBody(job: Job | undefined) {
    if (!job) {
      const metadata = { guid: '0', created_at: new Date(0).toISOString(), url: urls.stagingJob('0') };
      return { metadata, entity: { guid: '0', status: 'finished' } };
    }
    const { guid, status, error, created_at } = job;
    return {
      metadata: { guid, created_at, url: urls.stagingJob(guid) },
      entity: { guid, status, ...(error && { error: error.description, error_details: error }) },
    };
  }

  return router;
}
