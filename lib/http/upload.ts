import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileDigest } from '../files/digest.js';
import type { Logger } from '../logging/logger.js';
import { failureText, isTimeout } from './failure.js';
import { readText, type TransferClient, type TransferClientOptions, withTransferClient } from './transfer-client.js';
import { parseHttpUrl, stripUserinfo } from './url.js';

export interface UploadOptions extends TransferClientOptions {
  /** http or https, with user and password where the Cloud Controller asks for them. */
  url: string;
  /** Path of the file whose content is sent; it is left alone. */
  file: string;
  /** Form field. @default 'upload[droplet]' */
  fieldName?: string;
  /** File name in the form, `droplet.tgz` or `buildpack_cache.tgz`. */
  filename: string;
  /** Gives up with the signal's reason. */
  signal?: AbortSignal;
  /** Pause between two polls of the upload's job. @default 1000 */
  pollIntervalMs?: number;
  /** @default 300 */
  maxPolls?: number;
  logger?: Logger;
}

/** A blob was not taken; the text is what users of the Cloud Controller see (docs/protocol/dea.md §17.9). */
export class UploadError extends Error {
  constructor(
    reason: string,
    /** For logs; the URL has no user and password. */
    readonly data: { uri: string; status?: number },
    cause?: unknown,
  ) {
    super(`Error uploading: (${reason})`, { cause });
  }
}

/**
 * Posts a file as a multipart form of one part, asynchronously: where the Cloud Controller answers with a job, the
 * job is polled to its end (docs/protocol/dea.md §19.2).
 *
 * @throws UploadError when the file is not taken
 * @throws the file system's own error when the file cannot be read
 */
export async function uploadBlob(options: UploadOptions): Promise<void> {
  const startedMs = performance.now();
  const answer = await withTransferClient(options, (client) => post(client, options));
  const jobUrl = jobUrlOf(answer, stripUserinfo(options.url));
  if (jobUrl) {
    // The job's time is counted in polls.
    const { timeoutMs: _, ...pollOptions } = options;
    await withTransferClient(pollOptions, (client) => pollJob(client, jobUrl, pollOptions));
  }
  options.logger?.debug('upload.succeeded', {
    uri: stripUserinfo(options.url),
    took_ms: Math.round(performance.now() - startedMs),
  });
}

async function post(client: TransferClient, options: UploadOptions): Promise<string> {
  const { file, fieldName = 'upload[droplet]', filename, signal } = options;
  const uri = stripUserinfo(options.url);
  const url = asynchronous(parseOrRefuse(options.url, uri));
  const { size } = await stat(file);
  const boundary = `multipart-boundary-${randomUUID()}`;
  const header = Buffer.from(
    `--${boundary}\r\nContent-Disposition: form-data; name="${fieldName}"; filename="${filename}"\r\n` +
      'Content-Type: application/octet-stream\r\n\r\n',
  );
  const footer = Buffer.from(`\r\n--${boundary}--\n`);
  const form = new MultipartBody(header, file, size, footer);
  const headers = {
    'content-type': `multipart/form-data; boundary=${boundary}`,
    'content-length': String(form.bytes),
    'content-md5': await md5(file),
  };
  let answer: { status: number; text: string };
  try {
    const { status, body } = await client.request(url, {
      method: 'POST',
      headers,
      body: Readable.from(form.chunks(), { objectMode: false }),
      ...(signal && { signal }),
    });
    answer = { status, text: await readText(body) };
  } catch (error) {
    if (form.fileError !== undefined) throw form.fileError;
    throw new UploadError(`Upload failed - status 0; error: ${failureText(error, url)}`, { uri }, error);
  }
  if (answer.status >= 300) {
    throw new UploadError(`Upload failed - status ${answer.status}`, { uri, status: answer.status });
  }
  return answer.text;
}

/** Header, the file as it is now, footer: exactly as many bytes as announced. */
class MultipartBody {
  /** Set when reading the file, not the connection, broke the upload. */
  fileError: unknown;

  constructor(
    private readonly header: Buffer,
    private readonly file: string,
    private readonly size: number,
    private readonly footer: Buffer,
  ) {}

  get bytes(): number {
    return this.header.length + this.size + this.footer.length;
  }

  async *chunks(): AsyncGenerator<Buffer> {
    yield this.header;
    if (this.size > 0) yield* this.content();
    yield this.footer;
  }

  private async *content(): AsyncGenerator<Buffer> {
    const stream = createReadStream(this.file, { end: this.size - 1 });
    stream.on('error', (error) => {
      this.fileError = error;
    });
    let read = 0;
    for await (const chunk of stream) {
      read += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
    if (read === this.size) return;
    this.fileError = new Error(`${this.file} became shorter while it was sent`);
    throw this.fileError;
  }
}

/** `async=true` stands before the URI's own query. */
function asynchronous(url: URL): URL {
  const asynchronousUrl = new URL(url);
  asynchronousUrl.search = `?async=true${url.search.replace('?', '&')}`;
  return asynchronousUrl;
}

function parseOrRefuse(text: string, uri: string): URL {
  try {
    return parseHttpUrl(text);
  } catch (error) {
    throw new UploadError(`invalid URL ${(error as Error).message}`, { uri }, error);
  }
}

/** Only an answer that speaks of a URL is a job; anything else means that the upload is done. */
function jobUrlOf(answer: string, uri: string): URL | undefined {
  if (!answer.includes('url')) return undefined;
  const job = parseJson(answer) as { metadata?: { url?: unknown } | null } | undefined;
  const url = job?.metadata?.url;
  if (typeof url !== 'string') throw new UploadError('invalid json', { uri });
  return parseOrRefuse(url, uri);
}

async function pollJob(client: TransferClient, url: URL, options: UploadOptions): Promise<void> {
  const { signal, pollIntervalMs = 1000, maxPolls = 300 } = options;
  const uri = stripUserinfo(url.href);
  for (let polls = 0; polls < maxPolls; polls += 1) {
    if (polls > 0) await delay(pollIntervalMs, undefined, signal ? { signal } : {});
    const status = await jobStatus(client, url, uri, signal);
    if (status === 'finished') return;
    if (status === 'failed') throw new UploadError('Staging upload failed.', { uri });
  }
  throw new UploadError('Job took too long', { uri });
}

/** The job's state as the Cloud Controller tells it; undefined when it did not answer in time. */
async function jobStatus(
  client: TransferClient,
  url: URL,
  uri: string,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  let answer: { status: number; text: string };
  try {
    const { status, body } = await client.request(url, { method: 'GET', ...(signal && { signal }) });
    answer = { status, text: await readText(body) };
  } catch (error) {
    if (isTimeout(error)) return undefined;
    throw new UploadError(`Polling failed - status 0; error: ${failureText(error, url)}`, { uri }, error);
  }
  if (answer.status >= 300) {
    throw new UploadError(`Polling failed - status ${answer.status}`, { uri, status: answer.status });
  }
  const job = parseJson(answer.text) as { entity?: { status?: unknown } | null } | undefined;
  if (job === undefined) throw new UploadError('polling invalid json', { uri });
  return job.entity?.status;
}

/** A JSON object, undefined when the text is none. */
function parseJson(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** As `Content-MD5` spells it. */
async function md5(file: string): Promise<string> {
  return Buffer.from(await fileDigest(file, 'md5'), 'hex').toString('base64');
}
