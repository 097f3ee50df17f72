import { Router } from 'express';
import type { Credentials } from '../../../http/url.js';
import type { App } from '../../apps/app.js';
import { ApiError } from '../../errors.js';
import type { AppStore } from '../../store/app-store.js';
import { requireBasicCredentials } from '../authentication.js';
import { readCount, readId, readToken } from './bulk-query.js';

export interface BulkApiOptions {
  apps: AppStore;
  credentials: Credentials;
}

/** There is one. */
const users = 1;
const defaultDrainBatch = 50;

/** What health managers and log collectors read in bulk, with Basic authentication (docs/protocol/legacy-cc.md §7). */
export function bulkApi({ apps, credentials }: BulkApiOptions): Router {
  const router = Router();
  const authenticate = requireBasicCredentials(credentials, 'bulk');
  router.use('/bulk', authenticate);

  router.get('/bulk/apps', ({ query }, response) => {
    const limit = readCount(query, 'batch_size');
    const found = apps.listForCells(readToken(query, 'bulk_token'), limit);
    response.json({
      results: Object.fromEntries(found.map((app) => [app.guid, bulkEntry(app)])),
      bulk_token: { id: found.at(-1)?.id ?? null },
    });
  });

  router.get('/bulk/counts', ({ query }, response) => {
    const { model = 'user' } = query;
    if (model !== 'user') throw new ApiError('BadQueryParameter', 'model must be user');
    response.json({ counts: { user: users } });
  });

  router.get('/v2/syslog_drain_urls', authenticate, ({ query }, response) => {
    const limit = query.batch_size === undefined ? defaultDrainBatch : readCount(query, 'batch_size');
    const afterId = query.next_id === undefined ? 0 : readId(query.next_id, 'next_id');
    const found = apps.listDrained(afterId, limit);
    response.json({
      results: Object.fromEntries(found.map((app) => [app.guid, drainUrls(app)])),
      next_id: found.at(-1)?.id ?? null,
    });
  });

  return router;
}

function bulkEntry({ guid, instances, state, memory, package_state, version, updated_at }: App) {
  return { id: guid, instances, state, memory, package_state, version, updated_at: rubyTime(updated_at) };
}

/** `2015-06-30 13:52:36 UTC`. */
function rubyTime(isoTime: string): string {
  return `${isoTime.slice(0, 19).replace('T', ' ')} UTC`;
}

function drainUrls({ services }: App): string[] {
  return services.flatMap(({ syslog_drain_url: url }) => url || []);
}
