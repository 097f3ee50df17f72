import { createInterface } from 'node:readline';
import type { Dispatcher } from 'undici';
import { CliError } from '../cli-error.js';
import type {
  App,
  AppChange,
  AppEnvironment,
  AppEvent,
  Cell,
  Crash,
  HandOver,
  Info,
  InstanceEntry,
  LogLine,
  StagingStatus,
  StatsEntry,
} from './resources.js';
import { type ApiTransport, jsonContent } from './transport.js';
import { zipForm } from './zip-form.js';

/** The app as it is after a change, and the URL of the growing staging log when one was begun. */
export interface StartedApp {
  app: App;
  stagingLogUrl: string | undefined;
}

/** Apps in the Cloud Controller's client API (docs/protocol/legacy-cc.md §8, §12). */
export class ApiClient {
  constructor(private readonly transport: ApiTransport) {}

  info(): Promise<Info> {
    return this.transport.json('GET', '/v2/info');
  }

  async listApps(): Promise<App[]> {
    const { resources } = await this.transport.json<{ resources: App[] }>('GET', '/v2/apps');
    return resources;
  }

  async findApp(name: string): Promise<App | undefined> {
    const path = `/v2/apps?name=${encodeURIComponent(name)}`;
    const { resources } = await this.transport.json<{ resources: App[] }>('GET', path);
    return resources[0];
  }

  /** @throws CliError when there is no app of that name */
  async getApp(name: string): Promise<App> {
    const app = await this.findApp(name);
    if (!app) throw new CliError(`there is no app named ${name}`);
    return app;
  }

  createApp(change: AppChange): Promise<App> {
    return this.transport.json('POST', '/v2/apps', change);
  }

  async updateApp(guid: string, change: AppChange): Promise<StartedApp> {
    return this.starting('PUT', `/v2/apps/${guid}`, change);
  }

  async restageApp(guid: string): Promise<StartedApp> {
    return this.starting('POST', `/v2/apps/${guid}/restage`);
  }

  deleteApp(guid: string): Promise<void> {
    return this.transport.perform('DELETE', `/v2/apps/${guid}`);
  }

  instances(guid: string): Promise<Record<string, InstanceEntry>> {
    return this.transport.json('GET', `/v2/apps/${guid}/instances`);
  }

  /** Stops one instance; whoever watches over the app's health replaces it. */
  stopInstance(guid: string, index: number): Promise<void> {
    return this.transport.perform('DELETE', `/v2/apps/${guid}/instances/${index}`);
  }

  stats(guid: string): Promise<Record<string, StatsEntry>> {
    return this.transport.json('GET', `/v2/apps/${guid}/stats`);
  }

  handOver(guid: string): Promise<HandOver> {
    return this.transport.json('GET', `/v2/apps/${guid}/hand_over`);
  }

  crashes(guid: string): Promise<Crash[]> {
    return this.transport.json('GET', `/v2/apps/${guid}/crashes`);
  }

  staging(guid: string): Promise<StagingStatus> {
    return this.transport.json('GET', `/v2/apps/${guid}/staging`);
  }

  environment(guid: string): Promise<AppEnvironment> {
    return this.transport.json('GET', `/v2/apps/${guid}/env`);
  }

  async events(guid: string): Promise<AppEvent[]> {
    const { resources } = await this.transport.json<{ resources: AppEvent[] }>('GET', `/v2/apps/${guid}/events`);
    return resources;
  }

  async recentLogs(guid: string): Promise<LogLine[]> {
    const { resources } = await this.transport.json<{ resources: LogLine[] }>('GET', `/v2/apps/${guid}/logs/recent`);
    return resources;
  }

  /** Lines of the app's log as they come; ends when the Cloud Controller does. `onOpen` is called when it listens. */
  async *followLogs(guid: string, onOpen: () => void): AsyncGenerator<LogLine> {
    const { body } = await this.transport.send('GET', `/v2/apps/${guid}/logs/stream`);
    onOpen();
    for await (const line of createInterface({ input: body, crlfDelay: Number.POSITIVE_INFINITY })) {
      // Empty ones say only that the connection lives.
      if (line !== '') yield JSON.parse(line) as LogLine;
    }
  }

  /** The cells that apps can be placed on. */
  async cells(): Promise<Cell[]> {
    const { resources } = await this.transport.json<{ resources: Cell[] }>('GET', '/v2/cells');
    return resources;
  }

  /** Signed URL of a file or directory of an instance, on the directory server of its cell. */
  async fileUrl(guid: string, index: number, path: string): Promise<string> {
    const file = path.split('/').filter(Boolean).map(encodeURIComponent).join('/');
    const answer = await this.transport.send('GET', `/v2/apps/${guid}/instances/${index}/files${file && `/${file}`}`);
    await answer.body.dump();
    const { location } = answer.headers;
    if (typeof location !== 'string') throw new CliError('the Cloud Controller gave no address of the file');
    return location;
  }

  /** Uploads a zip as the app's package. `onProgress` gets the bytes sent so far. */
  async uploadBits(guid: string, path: string, onProgress: (sentBytes: number) => void): Promise<App> {
    const form = { field: 'application', filename: 'application.zip', path, texts: { resources: '[]' }, onProgress };
    const answer = await this.transport.send('PUT', `/v2/apps/${guid}/bits`, await zipForm(form));
    return (await answer.body.json()) as App;
  }

  private async starting(method: Dispatcher.HttpMethod, path: string, change?: AppChange): Promise<StartedApp> {
    const answer = await this.transport.send(method, path, change && jsonContent(change));
    const url = answer.headers['x-app-staging-log'];
    return { app: (await answer.body.json()) as App, stagingLogUrl: typeof url === 'string' ? url : undefined };
  }
}
