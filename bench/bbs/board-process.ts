import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from '../../lib/certs/certificates.js';
import { readIdentity } from '../../lib/http/internal-tls.js';
import { LocketClient } from '../../lib/locks/client/locket-client.js';
import { eventually } from '../../spec/support/eventually.js';
import { freeTcpPort } from '../../spec/support/nats.js';
import type { ConnectionFiles } from './connection.js';

/** Where rows are kept. */
export interface BoardDatabase {
  driver: string;
  connectionString: string;
}

/** `bin/bbs` over mutual TLS, with a Locket within it. */
export class BoardProcess {
  private constructor(
    readonly directory: string,
    readonly port: number,
    readonly healthPort: number,
    readonly files: ConnectionFiles,
    readonly locket: LocketClient,
    private readonly launch: () => ChildProcess,
    private child: ChildProcess,
  ) {}

  static async start(
    database: (directory: string) => BoardDatabase,
    config: Record<string, unknown> = {},
  ): Promise<BoardProcess> {
    const directory = await mkdtemp(join(tmpdir(), 'bbs-bench-'));
    const certs = join(directory, 'certs');
    await mkdir(certs);
    await makeCertificates({ directory: certs });
    const [port, healthPort, locketPort] = [await freeTcpPort(), await freeTcpPort(), await freeTcpPort()];
    const { driver, connectionString } = database(directory);
    const path = join(directory, 'bbs.yml');
    const document = {
      uuid: 'bench',
      listen_address: `127.0.0.1:${port}`,
      health_address: `127.0.0.1:${healthPort}`,
      embedded_locket_address: `127.0.0.1:${locketPort}`,
      ca_file: join(certs, 'ca.crt'),
      cert_file: join(certs, 'bbs.crt'),
      key_file: join(certs, 'bbs.key'),
      database_driver: driver,
      database_connection_string: connectionString,
      active_key_label: 'key-1',
      encryption_keys: { 'key-1': 'a passphrase' },
      log_file: join(directory, 'log'),
      ...config,
    };
    await writeFile(path, JSON.stringify(document));
    const files = { ca: join(certs, 'ca.crt'), cert: join(certs, 'client.crt'), key: join(certs, 'client.key') };
    const identity = readIdentity({ caFile: files.ca, certFile: files.cert, keyFile: files.key });
    const locket = new LocketClient({ address: `127.0.0.1:${locketPort}`, serverName: 'localhost', identity });
    const launch = () =>
      spawn(process.execPath, [...nodeFlags(), 'bin/bbs', path], { stdio: ['ignore', 'ignore', 'inherit'] });
    const board = new BoardProcess(directory, port, healthPort, files, locket, launch, launch());
    await board.whenReady();
    return board;
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** @returns how long it took until it served, ms */
  async restart(): Promise<number> {
    await this.end();
    const begun = performance.now();
    this.child = this.launch();
    await this.whenReady();
    return performance.now() - begun;
  }

  /** A figure of `/metrics`. */
  async metric(name: string): Promise<number | undefined> {
    const text = await (await fetch(`http://127.0.0.1:${this.healthPort}/metrics`)).text();
    const value = new RegExp(`^bbs_${name} (.*)$`, 'm').exec(text)?.[1];
    return value === undefined ? undefined : Number(value);
  }

  async stop(): Promise<void> {
    await this.locket.stop();
    await this.end();
    await rm(this.directory, { recursive: true, force: true });
  }

  private async end(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exited = once(this.child, 'exit');
    this.child.kill();
    await exited;
  }

  private async whenReady(): Promise<void> {
    await eventually(async () => (await fetch(`http://127.0.0.1:${this.healthPort}/ready`)).ok || undefined, {
      what: 'the board',
      timeoutMs: 120_000,
    });
  }
}

/** Such as `--cpu-prof`, to look into the board while it is measured. */
function nodeFlags(): string[] {
  return (process.env.BOARD_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '');
}
