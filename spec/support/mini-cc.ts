import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../lib/logging/logger.js';
import { completeMiniCcConfig, type MiniCcConfigInput } from '../../lib/mini-cc/config.js';
import { MiniCc } from '../../lib/mini-cc/mini-cc.js';
import type { Message } from './peer.js';
import { zipDirectory } from './zip.js';

export const clientToken = 'a-token-for-specs-only';
export const stagingCredentials = { user: 'staging_user', password: 'se%cr:et@x' };

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
  return {
    url,
    directory,
    miniCc,
    call,
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
