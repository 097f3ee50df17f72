import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BbsClient } from '../../lib/bbs/client/bbs-client.js';
import { eventually } from './eventually.js';
import { takePorts } from './host-share.js';
import { builtProgram } from './typescript.js';

export interface BbsProgramOptions {
  /** Where its files are; several may share one. */
  directory: string;
  /** Name of the lock's owner, and of its files. @default 'board-1' */
  uuid?: string;
  /** Keys of its configuration: the database, and others. */
  config: Record<string, unknown>;
}

/** How a process ended. */
export interface ProgramEnd {
  status: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

/** `bin/bbs` with a configuration of its own, as it was built, over plain HTTP. */
export class BbsProgram {
  client: BbsClient;
  #child: ChildProcess | undefined;
  #ended: Promise<ProgramEnd> | undefined;

  private constructor(
    readonly configPath: string,
    readonly logPath: string,
    readonly ports: { api: number; health: number },
  ) {
    this.client = this.#createClient();
  }

  static async create({ directory, uuid = 'board-1', config }: BbsProgramOptions): Promise<BbsProgram> {
    // Of those that the kernel gives to nobody while the program is away.
    const { start } = takePorts(2);
    const ports = { api: start, health: start + 1 };
    const logPath = join(directory, `${uuid}.log`);
    const all = {
      uuid,
      listen_address: `127.0.0.1:${ports.api}`,
      health_address: `127.0.0.1:${ports.health}`,
      require_ssl: false,
      active_key_label: 'key-1',
      encryption_keys: { 'key-1': 'a passphrase' },
      auctioneer_address: 'http://127.0.0.1:9',
      // No cell is there: a pass would take all that runs for lost.
      converge_repeat_interval: '1h',
      lock_retry_interval: '100ms',
      log_file: logPath,
      ...config,
    };
    const configPath = join(directory, `${uuid}.json`);
    await writeFile(configPath, JSON.stringify(all));
    return new BbsProgram(configPath, logPath, ports);
  }

  get url(): string {
    return `http://127.0.0.1:${this.ports.api}`;
  }

  get healthUrl(): string {
    return `http://127.0.0.1:${this.ports.health}`;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Launches it; it is not ready then. */
  launch(): void {
    const child = spawn(process.execPath, [...builtProgram('lib/bbs/main.ts'), this.configPath], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    this.#child = child;
    this.#ended = once(child, 'close').then(([status, signal]) => ({ status, signal, stderr }));
  }

  /** Launches it, and resolves when its API answers. */
  async start(): Promise<void> {
    this.launch();
    await this.serving();
  }

  /** Resolves when its API answers. @throws when it has ended, with what it printed */
  async serving(timeoutMs = 20_000): Promise<void> {
    await eventually(
      async () => {
        if (!this.isRunning) return 'ended';
        return (await this.healthStatus('/ready')) === 200 ? 'ready' : undefined;
      },
      { what: `a board that serves at ${this.url}`, timeoutMs },
    ).then(async (outcome) => {
      if (outcome === 'ended') throw new Error(`the board has ended: ${JSON.stringify(await this.#ended)}`);
    });
  }

  /** Status that the health port answers with; undefined when it does not. */
  async healthStatus(path = '/'): Promise<number | undefined> {
    const answer = await fetch(`${this.healthUrl}${path}`).catch(() => undefined);
    return answer?.status;
  }

  /** @throws when it was not launched */
  signal(signal: NodeJS.Signals): void {
    this.#child!.kill(signal);
  }

  /** Resolves when it has ended. @throws when it was not launched */
  async ended(): Promise<ProgramEnd> {
    return this.#ended!;
  }

  async end(signal: NodeJS.Signals): Promise<ProgramEnd | undefined> {
    if (!this.#child) return undefined;
    if (this.isRunning) this.signal(signal);
    return this.ended();
  }

  kill(): Promise<ProgramEnd | undefined> {
    return this.end('SIGKILL');
  }

  async log(): Promise<string> {
    return readFile(this.logPath, 'utf8').catch(() => '');
  }

  /** Breaks off all calls of its client. */
  renewClient(): void {
    this.client.stop();
    this.client = this.#createClient();
  }

  #createClient(): BbsClient {
    return BbsClient.create({ url: this.url, attempts: 1, connectTimeoutMs: 2000 });
  }

  /** Ends it at once, however it is. */
  async dispose(): Promise<void> {
    this.client.stop();
    await this.kill();
    await rm(this.configPath, { force: true });
  }
}
