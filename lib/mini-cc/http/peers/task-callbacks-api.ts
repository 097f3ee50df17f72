import { type Request, Router } from 'express';
import type { Credentials } from '../../../http/url.js';
import type { TaskController } from '../../tasks/task-controller.js';
import { requireBasicCredentials } from '../authentication.js';
import { parseJson, takeText } from '../json-body.js';
import { readCount, readToken } from './bulk-query.js';

/** What a CC-bridge asks and tells of tasks, with Basic authentication (docs/protocol/cc-bridge.md §2.6). */
export function taskCallbacksApi({ tasks, credentials }: { tasks: TaskController; credentials: Credentials }): Router {
  const router = Router();
  router.use('/internal/v3', requireBasicCredentials(credentials, 'internal'));

  router.get('/internal/v3/bulk/task_states', ({ query }, response) => {
    const limit = readCount(query, 'batch_size');
    response.json(tasks.bulk(readToken(query, 'token'), limit));
  });

  router.post('/internal/v3/tasks/:guid/completed', takeText('1mb'), (request: Request<{ guid: string }>, response) => {
    tasks.takeCompletion(request.params.guid, parseJson(request.body));
    response.json({});
  });

  return router;
}
