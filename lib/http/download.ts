import { createHash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory } from '../files/atomic-write.js';
import type { Logger } from '../logging/logger.js';
import { failureText } from './failure.js';
import {
  type TransferAnswer,
  type TransferClient,
  type TransferClientOptions,
  withTransferClient,
} from './transfer-client.js';
import { parseHttpUrl, stripUserinfo } from './url.js';

export interface DownloadOptions extends TransferClientOptions {
  /** http or https, with user and password where the blobstore asks for them. */
  url: string;
  /** Where the file is to be; it appears there complete or not at all. */
  path: string;
  /** Permission bits of the finished file. @default 0o600 */
  mode?: number;
  /** SHA-1 that the content must have, hexadecimal. */
  expectedSha1?: string;
  /** Gives up with the signal's reason. */
  signal?: AbortSignal;
  /** Gives up when the content is longer. */
  maxBytes?: number;
  logger?: Logger;
}

export interface Download {
  /** Of the content, lower-case hexadecimal. */
  sha1: string;
  bytes: number;
}

/** What logs may show of a failed download. */
export interface DownloadErrorData extends Record<string, unknown> {
  /** Without user and password. */
  uri: string;
  status?: number;
  /** SHA-1 asked for and SHA-1 got. */
  expected?: string;
  actual?: string;
}

/** A blob did not arrive; the text is what users of the Cloud Controller see (docs/protocol/dea.md §17.9). */
export class DownloadError extends Error {
  constructor(
    reason: string,
    readonly data: DownloadErrorData,
    cause?: unknown,
  ) {
    super(`Error downloading: ${reason}`, { cause });
  }
}

/** Names of files that an unfinished download leaves behind when the process is killed. */
export const downloadLeftover = /^\..*\.download$/;

let sequence = 0;

/**
 * Fetches a URL into a file (docs/protocol/dea.md §19.1). The content goes to a temporary file beside `path`, is
 * checked and made durable, then renamed; a failed download leaves nothing behind.
 *
 * @throws DownloadError when the other side does not deliver
 * @throws the file system's own error when the file cannot be written
 */
export async function downloadToFile(options: DownloadOptions): Promise<Download> {
  const { path, mode = 0o600, logger } = options;
  const uri = stripUserinfo(options.url);
  sequence += 1;
  const temporary = join(dirname(path), `.${basename(path)}-${process.pid}-${sequence}.download`);
  const startedMs = performance.now();
  try {
    const download = await withTransferClient(options, (client) => fetchInto(temporary, mode, client, options));
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    logger?.debug('download.succeeded', { uri, ...download, took_ms: Math.round(performance.now() - startedMs) });
    return download;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function fetchInto(
  temporary: string,
  mode: number,
  client: TransferClient,
  options: DownloadOptions,
): Promise<Download> {
  const { expectedSha1, signal } = options;
  const uri = stripUserinfo(options.url);
  const { url, status, body } = await requestBlob(client, options);
  if (status !== 200) {
    body.destroy();
    throw new DownloadError(`HTTP status: ${status}`, { uri, status });
  }
  const file = await open(temporary, 'wx', mode);
  try {
    const hash = createHash('sha1');
    let bytes = 0;
    for await (const chunk of received(body, url, uri)) {
      bytes += chunk.length;
      if (options.maxBytes !== undefined && bytes > options.maxBytes) {
        throw new DownloadError(`more than ${options.maxBytes} bytes`, { uri, status });
      }
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    signal?.throwIfAborted();
    const sha1 = hash.digest('hex');
    if (expectedSha1 !== undefined && sha1 !== expectedSha1.toLowerCase()) {
      throw new DownloadError('SHA1 mismatch', { uri, status, expected: expectedSha1, actual: sha1 });
    }
    // The mode given to open is cut by the process's umask.
    await file.chmod(mode);
    await file.sync();
    return { sha1, bytes };
  } finally {
    await file.close();
  }
}

async function requestBlob(client: TransferClient, { url: text, signal }: DownloadOptions): Promise<TransferAnswer> {
  const uri = stripUserinfo(text);
  let url: URL;
  try {
    url = parseHttpUrl(text);
  } catch (error) {
    throw new DownloadError(`Response status: unknown, Error: ${(error as Error).message}`, { uri }, error);
  }
  try {
    return await client.request(url, { method: 'GET', ...(signal && { signal }) });
  } catch (error) {
    throw connectionError(error, url, uri);
  }
}

/** The body's chunks; only errors of the connection become download errors, not those of whoever takes the chunks. */
async function* received(body: AsyncIterable<Buffer>, url: URL, uri: string): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (error) {
    throw connectionError(error, url, uri);
  }
}

function connectionError(error: unknown, url: URL, uri: string): DownloadError {
  return new DownloadError(`Response status: unknown, Error: ${failureText(error, url)}`, { uri }, error);
}
