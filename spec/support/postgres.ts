import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Certificate } from './certificates.js';
import { copyCertificate, type DatabaseServer, ServerProcess, startedOnce } from './database-server.js';
import { freeTcpPort } from './nats.js';
import { copyTemplate, run, serverUser } from './template-directory.js';

export interface PostgresOptions {
  /** Connections are encrypted with it. */
  certificate?: Certificate;
  /** Settings by their names. A commit survives the end of the process, but not that of the machine, unless they say so. */
  settings?: Record<string, string>;
}

/** Where Debian puts the programs of each version. */
const versions = '/usr/lib/postgresql';

/** The server that the specs of one process share. */
export const postgres: () => Promise<DatabaseServer> = startedOnce(() => startPostgres());

/** Starts a PostgreSQL server of its own. */
export async function startPostgres({
  settings = {},
  certificate,
}: PostgresOptions = {}): Promise<DatabaseServer & { stop(): Promise<void> }> {
  const version = (await readdir(versions).catch(() => [])).sort((a, b) => Number(b) - Number(a))[0];
  if (version === undefined) throw new Error('PostgreSQL is missing; run: bin/setup --for-tests');
  const program = (name: string) => join(versions, version, 'bin', name);
  const user = await serverUser('postgres');
  const directory = await mkdtemp(join(tmpdir(), 'postgres-'));
  await chmod(directory, 0o755);
  const data = join(directory, 'data');
  await copyTemplate(`postgres-${version}`, data, user, async (empty) => {
    const options = ['--no-sync', '--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C.UTF-8'];
    await run(program('initdb'), [...options, `--pgdata=${empty}`], user);
  });
  await chmod(data, 0o700);
  if (certificate) await copyCertificate(certificate, data);
  if (user.uid !== undefined) await run('chown', ['-R', `${user.uid}:${user.gid}`, data]);
  const port = await freeTcpPort();
  const all = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    fsync: 'off',
    ssl: certificate ? 'on' : 'off',
    ...settings,
  };
  const connect = async (database = 'postgres') => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const server = new ServerProcess({
    command: program('postgres'),
    args: ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    user,
    endSignal: 'SIGINT',
    async isUp() {
      await (await connect()).end();
      return true;
    },
  });
  const stop = async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  await server.start().catch(async (error) => {
    await stop();
    throw error;
  });
  return {
    port,
    async createDatabase() {
      const name = `board_${randomBytes(6).toString('hex')}`;
      const client = await connect();
      try {
        await client.query(`CREATE DATABASE ${name}`);
      } finally {
        await client.end();
      }
      return `postgres://postgres:p%40ss%3Aw%2Frd@127.0.0.1:${port}/${name}`;
    },
    kill: () => server.kill(),
    restart: () => server.start(),
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
    stop,
  };
}
