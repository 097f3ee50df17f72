import { type Request, Router } from 'express';
import type { Credentials } from '../../../http/url.js';
import type { Stager } from '../../staging/stager.js';
import { requireBasicCredentials } from '../authentication.js';
import { parseJson, takeText } from '../json-body.js';

export interface CompletionApiOptions {
  stager: Stager;
  credentials: Credentials;
}

/** Where stagers that were asked over HTTPS tell of the end, with Basic authentication (docs/protocol/legacy-cc.md §10). */
export function completionApi({ stager, credentials }: CompletionApiOptions): Router {
  const router = Router();
  router.use('/internal/dea/staging', requireBasicCredentials(credentials, 'internal'));
  router.post(
    '/internal/dea/staging/:guid/completed',
    takeText('1mb'),
    async (request: Request<{ guid: string }>, response) => {
      await stager.takeCompletion(request.params.guid, parseJson(request.body));
      response.json({});
    },
  );
  return router;
}
