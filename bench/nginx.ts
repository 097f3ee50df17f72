import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../spec/support/cell.js';
import { eventually } from '../spec/support/eventually.js';

/** The peer that file access is measured against: nginx with one worker, on the loopback, without a log. */
export class Nginx {
  private constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly child: ChildProcess,
  ) {}

  /** Serves a directory that its user can read. */
  static async start(root: string): Promise<Nginx> {
    const directory = await mkdtemp(join(tmpdir(), 'nginx-'));
    const port = await freePort();
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${directory}/${name};`,
    );
    await writeFile(
      join(directory, 'nginx.conf'),
      `daemon off; user root; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log;
      events { worker_connections 1024; }
      http { sendfile on; tcp_nopush on; keepalive_requests 1000000; access_log off; ${temporary.join(' ')}
        default_type text/plain;
        server { listen 127.0.0.1:${port}; root ${root}; }
      }\n`,
    );
    const child = spawn('nginx', ['-c', join(directory, 'nginx.conf'), '-e', join(directory, 'error.log')], {
      stdio: 'inherit',
    });
    const nginx = new Nginx(port, directory, child);
    await eventually(async () => {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect').finally(() => socket.destroy());
      return true;
    });
    return nginx;
  }

  /** The process that serves: the only child of the one that was started. */
  async workerPid(): Promise<number> {
    const { pid } = this.child;
    return Number((await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim());
  }

  async stop(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await ended;
    await rm(this.directory, { recursive: true });
  }
}
