import { json, type Request, type Response, Router } from 'express';
import { z } from 'zod';
import type { Blobstore, PendingBlob } from '../blobs/blobstore.js';
import { blobNames } from '../blobs/names.js';
import { ApiError } from '../errors.js';
import { type BuildpackStore, buildpackKey } from '../store/buildpack-store.js';
import { receiveUpload, UploadRefusedError } from './upload.js';
import { checkZip, InvalidZipError } from './zip-check.js';

export interface BuildpacksApiOptions {
  buildpacks: BuildpackStore;
  blobs: Blobstore;
  maximumBytes: number;
}

const newBuildpackSchema = z.object({ name: z.string().trim().min(1).max(255), position: z.int().min(1).optional() });
const buildpackChangeSchema = z.object({ position: z.int().min(1).optional(), enabled: z.boolean().optional() });

/** Operators' requests about buildpacks, behind the bearer token. */
export function buildpacksApi({ buildpacks, blobs, maximumBytes }: BuildpacksApiOptions): Router {
  const router = Router();
  const body = json({ limit: '1mb' });

  router.get('/buildpacks', (_request, response) => {
    const resources = buildpacks.list();
    response.json({ total_results: resources.length, resources });
  });

  router.post('/buildpacks', body, (request, response) => {
    const { name, position } = parse(newBuildpackSchema, request.body);
    response.status(201).json(buildpacks.insert(name, position));
  });

  router.put('/buildpacks/:guid', body, (request, response) => {
    const { position, enabled } = parse(buildpackChangeSchema, request.body);
    const change = { ...(position !== undefined && { position }), ...(enabled !== undefined && { enabled }) };
    response.status(201).json(buildpacks.update(guidOf(request), change));
  });

  router.put('/buildpacks/:guid/bits', async (request, response) => {
    const before = buildpacks.get(request.params.guid);
    const pending = await receive(request, response);
    const key = buildpackKey({ ...before, sha1: pending.sha1 });
    await pending.commit(blobNames.buildpack(key));
    const after = buildpacks.update(before.guid, {
      sha1: pending.sha1,
      filename: request.file?.originalname ?? 'buildpack.zip',
    });
    if (before.sha1 !== null && before.sha1 !== after.sha1)
      await blobs.delete(blobNames.buildpack(buildpackKey(before)));
    response.status(201).json(after);
  });

  router.delete('/buildpacks/:guid', async (request, response) => {
    const buildpack = buildpacks.get(request.params.guid);
    buildpacks.delete(buildpack.guid);
    if (buildpack.sha1 !== null) await blobs.delete(blobNames.buildpack(buildpackKey(buildpack)));
    response.status(204).end();
  });

  async function receive(request: Request, response: Response): Promise<PendingBlob> {
    let pending: PendingBlob | undefined;
    try {
      pending = await receiveUpload(request, response, { blobs, field: 'buildpack', maximumBytes });
      await checkZip(pending.path);
      return pending;
    } catch (error) {
      await pending?.discard();
      if (!(error instanceof UploadRefusedError || error instanceof InvalidZipError)) throw error;
      throw new ApiError('InvalidRequest', error.message, { cause: error });
    }
  }

  return router;
}

function guidOf(request: Request<{ guid: string }>): string {
  return request.params.guid;
}

function parse<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new ApiError('InvalidRequest', problems.join('; '));
}
