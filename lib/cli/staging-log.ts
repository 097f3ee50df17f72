import { setTimeout as delay } from 'node:timers/promises';
import { routedRequest } from './routed-request.js';

export interface StagingLogOptions {
  /** The signed URL of the growing log. */
  url: string;
  router: string | undefined;
  /** Gives up; what has arrived was written. */
  signal: AbortSignal;
  write(chunk: Buffer): void;
}

const firstPauseMs = 100;
const longestPauseMs = 2000;

/**
 * Follows a staging log to its end: asks for what comes after the bytes so far, again after each cut or pause, until
 * the log is gone with its task (docs/protocol/dea.md §20.5). Never rejects: a log that cannot be read fails no push.
 *
 * @returns whether anything was read
 */
export async function followStagingLog({ url, router, signal, write }: StagingLogOptions): Promise<boolean> {
  let offset = 0;
  let pauseMs = firstPauseMs;
  while (!signal.aborted) {
    const before = offset;
    try {
      const response = await routedRequest({ url: new URL(`${url}&tail&tail_offset=${offset}`), router, signal });
      if (response.statusCode === 404 && !isUnroutedYet(response.headers, offset)) {
        response.destroy();
        break;
      }
      if (response.statusCode === 200) {
        for await (const chunk of response) {
          offset += (chunk as Buffer).length;
          write(chunk as Buffer);
        }
      } else response.destroy();
    } catch {
      // A cut connection: the log goes on elsewhere in it.
    }
    pauseMs = offset > before ? firstPauseMs : Math.min(pauseMs * 2, longestPauseMs);
    await delay(pauseMs, undefined, { signal }).catch(() => {});
  }
  return offset > 0;
}

/** A router that has just come up has not yet heard of the directory server. */
function isUnroutedYet(headers: NodeJS.Dict<string | string[]>, offset: number): boolean {
  return offset === 0 && headers['x-cf-routererror'] !== undefined;
}
