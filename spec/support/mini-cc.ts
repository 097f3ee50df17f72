import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../lib/logging/logger.js';
import type { App } from '../../lib/mini-cc/apps/app.js';
import { completeMiniCcConfig, type MiniCcConfigInput } from '../../lib/mini-cc/config.js';
import { MiniCc } from '../../lib/mini-cc/mini-cc.js';
import { AppStore } from '../../lib/mini-cc/store/app-store.js';
import { openDatabase } from '../../lib/mini-cc/store/database.js';
import { anApp } from './apps.js';
import type { Message } from './peer.js';
import { zipDirectory } from './zip.js';

export const clientToken = 'a-token-for-specs-only';
export const stagingCredentials = { user: 'staging_user', password: 'se%cr:et@x' };
/** As health managers have them. */
export const bulkCredentials = { user: 'bulk', password: 'bu:lk' };
export const internalCredentials = { user: 'internal', password: 'in:ternal' };

export interface Answer {
  status: number;
  headers: Headers;
  body: Message;
}

/** A real miniature Cloud Controller in this process, with a directory of its own. */
export interface RunningMiniCc {
  url: string;
  directory: string;
  miniCc: MiniCc;
  /** A request of the client API. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** Uploads a directory as the app's package. */
  uploadBits(guid: string, directory: string): Promise<Answer>;
  /** Puts apps into its database as they are, whatever its API would say; gives their guids. */
  insertApps(apps: Partial<App>[]): string[];
  /** Changes an app in its database. */
  alterApp(guid: string, change: Partial<App>): void;
  /** Uploads a directory as a new buildpack; gives it. */
  addBuildpack(name: string, directory: string): Promise<Message>;
  stop(): Promise<void>;
}

export async function startMiniCc(options: {
  natsUrl: string;
  config?: Partial<MiniCcConfigInput>;
  directory?: string;
}): Promise<RunningMiniCc> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'mini-cc-spec-')));
  const config = completeMiniCcConfig({
    data_directory: directory,
    external_port: 0,
    message_bus_servers: [options.natsUrl],
    client_token: clientToken,
    write_target_file: false,
    find_timeout_in_seconds: 0.5,
    loggregator: { port: 0 },
    bulk_api: { auth_user: bulkCredentials.user, auth_password: bulkCredentials.password },
    internal_api: { auth_user: internalCredentials.user, auth_password: internalCredentials.password },
    // Nobody listens there: a spec that wants a health manager says so.
    hm9000: { url: 'http://127.0.0.1:1' },
    ...options.config,
    staging: { auth: stagingCredentials, timeout_in_seconds: 5, ...options.config?.staging },
  });
  const miniCc = MiniCc.create({ config, logger: silentLogger });
  await miniCc.start();
  const { url } = miniCc;
  const headers = { Authorization: `bearer ${clientToken}` };

  const call = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await fetch(`${url}${path}`, {
      method,
      redirect: 'manual',
      headers: { ...headers, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return answerOf(response);
  };
  const upload = async (path: string, field: string, source: string): Promise<Answer> => {
    const form = new FormData();
    form.append(field, new Blob([await zipDirectory(source)]), 'upload.zip');
    return answerOf(await fetch(`${url}${path}`, { method: 'PUT', headers, body: form }));
  };
  const withStore = <Result>(work: (apps: AppStore) => Result): Result => {
    const database = openDatabase(join(directory, 'mini-cc.db'));
    try {
      return database.transaction(() => work(new AppStore(database, Date.now)))();
    } finally {
      database.close();
    }
  };
  return {
    url,
    directory,
    miniCc,
    call,
    insertApps(apps) {
      return withStore((store) =>
        apps.map((app) => {
          const guid = randomUUID();
          const { id: _given, ...complete } = anApp({ guid, name: guid, version: randomUUID(), ...app });
          return store.insert(complete).guid;
        }),
      );
    },
    alterApp(guid, change) {
      withStore((store) => store.update(guid, change));
    },
    uploadBits: (guid, source) => upload(`/v2/apps/${guid}/bits`, 'application', source),
    async addBuildpack(name, source) {
      const { body } = await call('POST', '/v2/buildpacks', { name });
      return (await upload(`/v2/buildpacks/${body.guid}/bits`, 'buildpack', source)).body;
    },
    async stop() {
      await miniCc.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text.startsWith('{') ? JSON.parse(text) : { text },
  };
}
