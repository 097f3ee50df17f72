import { availableParallelism } from 'node:os';
import { Router } from 'express';
import type { ComponentRegistration } from '../component/registration.js';
import type { AppStore } from '../store/app-store.js';
import { requireBasicCredentials } from './authentication.js';

export interface ComponentApiOptions {
  registration: ComponentRegistration;
  apps: AppStore;
}

/** The pages of a vcap component, with the credentials that it announces (docs/protocol/legacy-cc.md §1.3). */
export function componentApi({ registration, apps }: ComponentApiOptions): Router {
  const router = Router();
  const authenticate = requireBasicCredentials(registration.credentials, 'component');

  router.get('/healthz', authenticate, (_request, response) => void response.type('text/plain').send('ok\n'));

  router.get('/varz', authenticate, (_request, response) => {
    const { credentials: _secret, ...record } = registration.record();
    response.json({
      ...record,
      uptime: registration.uptime(),
      num_cores: availableParallelism(),
      mem_bytes: process.memoryUsage.rss(),
      cc_user_count: 1,
      cc_started_app_count: apps.count('STARTED'),
      cc_stopped_app_count: apps.count('STOPPED'),
    });
  });

  return router;
}
