import { randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type { Target } from '../config/target-file.js';
import { stripUserinfo } from '../http/url.js';
import { CliError } from './cli-error.js';
import type { App, AppChange, AppEvent, Info, InstanceEntry, StagingStatus, StatsEntry } from './resources.js';

export interface ApiClientOptions {
  target: Target;
  /** Gives up everything that is under way. */
  signal: AbortSignal;
}

/** The Cloud Controller refused; `errorCode` is its `CF-<Name>`. */
export class ApiRefusal extends CliError {
  constructor(
    readonly status: number,
    readonly errorCode: string,
    description: string,
  ) {
    super(description);
  }
}

/** The app as it is after a change, and the URL of the growing staging log when one was begun. */
export interface StartedApp {
  app: App;
  stagingLogUrl: string | undefined;
}

const connectTimeoutMs = 5000;
/** A start is answered when the stager has set itself up. */
const answerTimeoutMs = 900_000;

/** The Cloud Controller's client API (docs/protocol/legacy-cc.md §8, §12). */
export class ApiClient {
  private readonly agent = new Agent({
    connect: { timeout: connectTimeoutMs },
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  });

  constructor(private readonly options: ApiClientOptions) {}

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  info(): Promise<Info> {
    return this.json('GET', '/v2/info');
  }

  async listApps(): Promise<App[]> {
    const { resources } = await this.json<{ resources: App[] }>('GET', '/v2/apps');
    return resources;
  }

  async findApp(name: string): Promise<App | undefined> {
    const { resources } = await this.json<{ resources: App[] }>('GET', `/v2/apps?name=${encodeURIComponent(name)}`);
    return resources[0];
  }

  /** @throws CliError when there is no app of that name */
  async getApp(name: string): Promise<App> {
    const app = await this.findApp(name);
    if (!app) throw new CliError(`there is no app named ${name}`);
    return app;
  }

  createApp(change: AppChange): Promise<App> {
    return this.json('POST', '/v2/apps', change);
  }

  async updateApp(guid: string, change: AppChange): Promise<StartedApp> {
    return this.starting('PUT', `/v2/apps/${guid}`, change);
  }

  async restageApp(guid: string): Promise<StartedApp> {
    return this.starting('POST', `/v2/apps/${guid}/restage`);
  }

  async deleteApp(guid: string): Promise<void> {
    const answer = await this.send('DELETE', `/v2/apps/${guid}`);
    await answer.body.dump();
  }

  instances(guid: string): Promise<Record<string, InstanceEntry>> {
    return this.json('GET', `/v2/apps/${guid}/instances`);
  }

  stats(guid: string): Promise<Record<string, StatsEntry>> {
    return this.json('GET', `/v2/apps/${guid}/stats`);
  }

  staging(guid: string): Promise<StagingStatus> {
    return this.json('GET', `/v2/apps/${guid}/staging`);
  }

  async events(guid: string): Promise<AppEvent[]> {
    const { resources } = await this.json<{ resources: AppEvent[] }>('GET', `/v2/apps/${guid}/events`);
    return resources;
  }

  /** Signed URL of a file or directory of an instance, on the directory server of its cell. */
  async fileUrl(guid: string, index: number, path: string): Promise<string> {
    const file = path.split('/').filter(Boolean).map(encodeURIComponent).join('/');
    const answer = await this.send('GET', `/v2/apps/${guid}/instances/${index}/files${file && `/${file}`}`);
    await answer.body.dump();
    const { location } = answer.headers;
    if (typeof location !== 'string') throw new CliError('the Cloud Controller gave no address of the file');
    return location;
  }

  /** Uploads a zip as the app's package. `onProgress` gets the bytes sent so far. */
  async uploadBits(guid: string, zipPath: string, onProgress: (sentBytes: number) => void): Promise<App> {
    const { size } = await stat(zipPath);
    const boundary = `isthmus-${randomUUID()}`;
    const part = (disposition: string) => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n`;
    const head = Buffer.from(
      `${part('name="resources"')}\r\n[]\r\n${part('name="application"; filename="application.zip"')}` +
        'Content-Type: application/zip\r\n\r\n',
    );
    const foot = Buffer.from(`\r\n--${boundary}--\r\n`);
    async function* content(): AsyncGenerator<Buffer> {
      yield head;
      let sent = 0;
      for await (const chunk of createReadStream(zipPath)) {
        yield chunk as Buffer;
        sent += (chunk as Buffer).length;
        onProgress(sent);
      }
      yield foot;
    }
    const answer = await this.send('PUT', `/v2/apps/${guid}/bits`, {
      headers: {
        'content-type': `multipart/form-data; boundary=${boundary}`,
        'content-length': String(head.length + size + foot.length),
      },
      body: Readable.from(content(), { objectMode: false }),
    });
    return (await answer.body.json()) as App;
  }

  private async starting(method: Dispatcher.HttpMethod, path: string, change?: AppChange): Promise<StartedApp> {
    const answer = await this.send(method, path, change && jsonBody(change));
    const url = answer.headers['x-app-staging-log'];
    return { app: (await answer.body.json()) as App, stagingLogUrl: typeof url === 'string' ? url : undefined };
  }

  private async json<Result>(method: Dispatcher.HttpMethod, path: string, body?: unknown): Promise<Result> {
    const answer = await this.send(method, path, body === undefined ? undefined : jsonBody(body));
    return (await answer.body.json()) as Result;
  }

  /** @throws ApiRefusal for stati from 400 on; CliError when there is no answer */
  private async send(
    method: Dispatcher.HttpMethod,
    path: string,
    content: { headers: Record<string, string>; body: string | Readable } | undefined = undefined,
  ): Promise<Dispatcher.ResponseData> {
    const { target, signal } = this.options;
    let answer: Dispatcher.ResponseData;
    try {
      answer = await this.agent.request({
        origin: new URL(target.url).origin,
        path,
        method,
        headers: { authorization: `bearer ${target.token}`, ...content?.headers },
        body: content?.body ?? null,
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw new CliError(
        `the Cloud Controller at ${stripUserinfo(target.url)} does not answer: ${(error as Error).message}`,
        { cause: error },
      );
    }
    if (answer.statusCode >= 400) throw await refusalOf(answer);
    return answer;
  }
}

function jsonBody(value: unknown): { headers: Record<string, string>; body: string } {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

async function refusalOf(answer: Dispatcher.ResponseData): Promise<ApiRefusal> {
  const text = await answer.body.text();
  try {
    const { description, error_code } = JSON.parse(text) as { description?: unknown; error_code?: unknown };
    if (typeof description === 'string') return new ApiRefusal(answer.statusCode, String(error_code), description);
  } catch {
    // Not this API's answer, such as a proxy's.
  }
  return new ApiRefusal(answer.statusCode, '', `the Cloud Controller answered with status ${answer.statusCode}`);
}
