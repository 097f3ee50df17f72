import { type Request, Router } from 'express';
import { z } from 'zod';
import type { Credentials } from '../../../http/url.js';
import { etagOf } from '../../diego/app-messages.js';
import { processGuid, splitGuid } from '../../diego/guids.js';
import { crashReportSchema, type DesireMessage, processGuidsSchema } from '../../diego/messages.js';
import type { DiegoRunner } from '../../diego/runner.js';
import { ApiError } from '../../errors.js';
import type { HandOvers } from '../../migration/hand-overs.js';
import type { DiegoStager } from '../../staging/diego-stager.js';
import type { AppStore } from '../../store/app-store.js';
import type { EventStore } from '../../store/event-store.js';
import { requireBasicCredentials } from '../authentication.js';
import { parseJson, takeText } from '../json-body.js';
import { readCount, readToken } from './bulk-query.js';

export interface DiegoApiOptions {
  apps: AppStore;
  events: EventStore;
  diego: DiegoRunner;
  diegoStager: DiegoStager;
  handOvers: HandOvers;
  credentials: Credentials;
}

/** What a CC-bridge asks and tells, with Basic authentication (docs/protocol/legacy-cc.md §9.2). */
export function diegoApi({ apps, events, diego, diegoStager, handOvers, credentials }: DiegoApiOptions): Router {
  const router = Router();
  const authenticate = requireBasicCredentials(credentials, 'internal');
  for (const path of ['/internal/bulk', '/internal/apps', '/internal/staging']) router.use(path, authenticate);

  router.get('/internal/bulk/apps', ({ query }, response) => {
    const limit = readCount(query, 'batch_size');
    const found = apps.listForDiego(readToken(query, 'token'), limit);
    const token = { id: found.at(-1)?.id ?? null };
    if (query.format !== 'fingerprint') {
      response.json({ apps: found.map((app) => diego.message(app)), token });
      return;
    }
    const fingerprints = found.map((app) => ({ process_guid: processGuid(app), etag: etagOf(app) }));
    response.json({ fingerprints, token });
  });

  router.post('/internal/bulk/apps', takeText('4mb'), (request, response) => {
    const wanted = processGuidsSchema.safeParse(parseJson(request.body));
    if (!wanted.success) throw new ApiError('MessageParseError', 'the body must be a list of process guids');
    response.json(wanted.data.flatMap(currentMessage));
  });

  router.post('/internal/apps/:guid/crashed', takeText('64kb'), (request: Request<{ guid: string }>, response) => {
    const body = parseJson(request.body);
    const { appGuid, rest: version } = splitGuid(request.params.guid);
    const app = apps.find(appGuid);
    if (!app) throw new ApiError('NotFound');
    if (!app.diego && handOvers.find(appGuid)?.target !== 'dea') {
      throw new ApiError('UnableToPerform', 'AppCrashed could not be completed: not a diego app');
    }
    const report = crashReportSchema.safeParse(body);
    if (!report.success) throw new ApiError('InvalidRequest', z.prettifyError(report.error));
    const { instance, index, reason, exit_status, exit_description } = report.data;
    events.add(appGuid, 'app.crash', { version, instance, index, reason, exit_status, exit_description });
    response.json({});
  });

  router.post(
    '/internal/staging/:guid/completed',
    takeText('1mb'),
    async (request: Request<{ guid: string }>, response) => {
      await diegoStager.takeCompletion(request.params.guid, parseJson(request.body));
      response.json({});
    },
  );

  /** The message of a process, none when the app has another version by now or is not to run. */
  function currentMessage(guid: string): DesireMessage[] {
    const app = apps.findForDiego(splitGuid(guid).appGuid);
    return app && processGuid(app) === guid ? [diego.message(app)] : [];
  }

  return router;
}
