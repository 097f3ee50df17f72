import { z } from 'zod';
import type { AdminBuildpack, BuildpackCache } from '../../cell/buildpack-cache.js';
import { readText, withTransferClient } from '../../http/transfer-client.js';
import { parseHttpUrl, stripUserinfo } from '../../http/url.js';
import { errorData, type Logger } from '../../logging/logger.js';

export interface ListedBuildpacksOptions {
  /** The Cloud Controller, with user and password. */
  ccUrl: string;
  buildpacks: BuildpackCache;
  /** Gives up. */
  signal: AbortSignal;
  logger: Logger;
}

const path = '/internal/buildpacks';
const listSchema = z.array(z.object({ key: z.string(), url: z.string() }));

/** The Cloud Controller did not answer with a list. */
class ListRefusedError extends Error {
  constructor(readonly status: number) {
    super(`HTTP status: ${status}`);
  }
}

/**
 * Fetches all buildpacks that the Cloud Controller lists, so that the first staging need not (docs/protocol/dea.md
 * §1.3, step 2). Nothing depends on it: failures are only logged. Never rejects.
 */
export async function fetchListedBuildpacks(options: ListedBuildpacksOptions): Promise<void> {
  const { buildpacks, signal, logger } = options;
  const data = { destination: stripUserinfo(options.ccUrl) };
  try {
    await buildpacks.ensure(await listBuildpacks(options), signal);
    logger.debug('buildpacks-request.done', data);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof ListRefusedError)
      logger.warn('buildpacks-request.failed', { ...data, http_status: error.status });
    else logger.error('buildpacks-request.error', { ...data, ...errorData(error) });
  }
}

/** @throws ListRefusedError, the connection's error, or what is wrong with the answer */
function listBuildpacks({ ccUrl, signal }: ListedBuildpacksOptions): Promise<AdminBuildpack[]> {
  return withTransferClient({ signal }, async (client) => {
    const url = parseHttpUrl(ccUrl);
    url.pathname = path;
    url.search = '';
    url.hash = '';
    const answer = await client.request(url, { method: 'GET', signal });
    if (answer.status !== 200) throw new ListRefusedError(answer.status);
    return listSchema.parse(JSON.parse(await readText(answer.body)));
  });
}
