import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '../../lib/process/command.js';
import { eventually } from './eventually.js';
import { freeTcpPort } from './nats.js';

export interface Registry {
  /** `127.0.0.1:<port>` */
  host: string;
  /** Lines of the access log so far that concern this path. */
  requests(pathPart: string): Promise<string[]>;
  /** Copies an image of an OCI layout into the registry. */
  push(layout: string, repository: string): Promise<void>;
  stop(): Promise<void>;
}

/** Whom a registry that asks for credentials lets in. */
export const registryCredentials = { username: 'alice', password: 'correct horse' };
/** The same for the registry, which wants bcrypt. */
const passwordLine = 'alice:$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n';

export interface RegistryOptions {
  /** Asks everybody for `registryCredentials`. */
  isPrivate?: boolean;
}

/** Starts a real image registry (Docker Distribution) on the loopback and waits until it answers. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const { isPrivate = false } = options;
  const directory = await mkdtemp(join(tmpdir(), 'registry-'));
  const host = `127.0.0.1:${await freeTcpPort()}`;
  const passwords = join(directory, 'htpasswd');
  await writeFile(passwords, passwordLine);
  const configuration = join(directory, 'config.yml');
  await writeFile(
    configuration,
    JSON.stringify({
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: false } },
      storage: { filesystem: { rootdirectory: join(directory, 'data') } },
      http: { addr: host },
      ...(isPrivate && { auth: { htpasswd: { realm: 'spec', path: passwords } } }),
    }),
  );
  const child = spawn('docker-registry', ['serve', configuration], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece: Buffer) => (log += piece.toString()));
  const exited = once(child, 'exit');
  child.once('error', (error) => {
    throw new Error('docker-registry cannot be started; run: bin/setup', { cause: error });
  });
  await eventually(async () => (await fetch(`http://${host}/v2/`)).status > 0 || undefined, {
    what: 'an answer of docker-registry',
  });
  return {
    host,
    async requests(pathPart) {
      return log.split('\n').filter((line) => line.includes(pathPart) && /"(GET|HEAD) /.test(line));
    },
    async push(layout, repository) {
      const { username, password } = registryCredentials;
      const creds = isPrivate ? [`--dest-creds=${username}:${password}`] : [];
      const target = `docker://${host}/${repository}`;
      const flags = ['--insecure-policy', 'copy', '--quiet', '--dest-tls-verify=false', ...creds];
      await runCommand('skopeo', [...flags, `oci:${layout}`, target]);
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true });
    },
  };
}
