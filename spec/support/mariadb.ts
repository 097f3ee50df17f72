import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import type { Certificate } from './certificates.js';
import { copyCertificate, type DatabaseServer, ServerProcess, startedOnce } from './database-server.js';
import { freeTcpPort } from './nats.js';
import { copyTemplate, run, serverUser } from './template-directory.js';

/** One that a DSN can hold, and much else cannot. */
export const mariadbPassword = 'p@ss:w/rd?';

export interface MariadbOptions {
  /** Connections are encrypted with it. */
  certificate?: Certificate;
  /** Options of mariadbd. A commit survives the end of the process, but not that of the machine, unless they say so. */
  settings?: Record<string, string>;
}

/** The server that the specs of one process share. */
export const mariadb: () => Promise<DatabaseServer> = startedOnce(() => startMariadb());

/** Starts a MariaDB server of its own. */
export async function startMariadb({
  settings = {},
  certificate,
}: MariadbOptions = {}): Promise<DatabaseServer & { stop(): Promise<void> }> {
  const user = await serverUser('mysql');
  const directory = await mkdtemp(join(tmpdir(), 'mariadb-'));
  const data = join(directory, 'data');
  const version = (await run('mariadbd', ['--version'])).match(/\d+\.\d+\.\d+/)?.[0];
  await copyTemplate(`mariadb-${version}`, data, user, installDatabase);
  if (certificate) await copyCertificate(certificate, directory);
  if (user.uid !== undefined) await run('chown', ['-R', `${user.uid}:${user.gid}`, directory]);
  const port = await freeTcpPort();
  const socket = join(directory, 'socket');
  const all = {
    datadir: data,
    port: String(port),
    'bind-address': '127.0.0.1',
    socket,
    'pid-file': join(directory, 'pid'),
    // The suite's own directory for such files is not the user's.
    tmpdir: directory,
    'innodb-buffer-pool-size': '64M',
    'innodb-flush-log-at-trx-commit': '2',
    'innodb-log-file-size': '8M',
    'innodb-flush-method': 'nosync',
    'performance-schema': 'OFF',
    ...(certificate && { 'ssl-cert': join(directory, 'server.crt'), 'ssl-key': join(directory, 'server.key') }),
    ...settings,
  };
  const args = ['--no-defaults', '--skip-name-resolve'];
  const connect = () => createConnection({ socketPath: socket, user: 'root' });
  const server = new ServerProcess({
    command: 'mariadbd',
    args: [...args, ...Object.entries(all).map(([name, value]) => `--${name}=${value}`)],
    user,
    endSignal: 'SIGTERM',
    async isUp() {
      await (await connect()).end();
      return true;
    },
  });
  const execute = async (...statements: string[]) => {
    const connection = await connect();
    try {
      for (const statement of statements) await connection.query(statement);
    } finally {
      await connection.end();
    }
  };
  const stop = async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  };
  await server.start().catch(async (error) => {
    await stop();
    throw error;
  });
  await execute(
    `CREATE USER board@'%' IDENTIFIED BY '${mariadbPassword}'`,
    `GRANT ALL PRIVILEGES ON *.* TO board@'%' WITH GRANT OPTION`,
  );
  return {
    port,
    async createDatabase() {
      const name = `board_${randomBytes(6).toString('hex')}`;
      await execute(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
      return `board:${mariadbPassword}@tcp(127.0.0.1:${port})/${name}?parseTime=true`;
    },
    kill: () => server.kill(),
    restart: () => server.start(),
    pause: () => server.signal('SIGSTOP'),
    resume: () => server.signal('SIGCONT'),
    stop,
  };

  async function installDatabase(empty: string): Promise<void> {
    await run(
      'mariadb-install-db',
      [
        '--no-defaults',
        `--datadir=${empty}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        '--innodb-log-file-size=8M',
        '--innodb-flush-log-at-trx-commit=0',
      ],
      user,
    );
  }
}
