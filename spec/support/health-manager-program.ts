import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dump as toYaml } from 'js-yaml';
import { freeTcpPort } from './nats.js';

export interface HealthManagerProgramOptions {
  natsPort: number;
  /** URL of the Cloud Controller. */
  controllerUrl: string;
  /** More keys of its configuration, or others. */
  config?: Record<string, unknown>;
}

export interface ProgramResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** `bin/hm9000` with a configuration of its own, as an operator has it; a heartbeat is a second. */
export class HealthManagerProgram {
  private child: ChildProcess | undefined;

  private constructor(
    readonly directory: string,
    readonly configPath: string,
    readonly ports: { api: number; metrics: number },
  ) {}

  static async create(options: HealthManagerProgramOptions): Promise<HealthManagerProgram> {
    const directory = await mkdtemp(join(tmpdir(), 'hm-'));
    const configPath = join(directory, 'hm9000.yml');
    const ports = { api: await freeTcpPort(), metrics: await freeTcpPort() };
    const config = {
      heartbeat_period_in_seconds: 1,
      listener_heartbeat_sync_interval_in_milliseconds: 100,
      nats: [{ host: '127.0.0.1', port: options.natsPort }],
      local_ip: '127.0.0.1',
      cc_base_url: options.controllerUrl,
      cc_auth_user: 'bulk',
      cc_auth_password: 'password',
      api_server_address: '127.0.0.1',
      api_server_port: ports.api,
      api_server_username: 'api',
      api_server_password: 'secret',
      metrics_server_port: ports.metrics,
      log_file: join(directory, 'hm9000.log'),
      snapshot_file: join(directory, 'state.db'),
      ...options.config,
    };
    await writeFile(configPath, toYaml(config));
    return new HealthManagerProgram(directory, configPath, ports);
  }

  /** Runs a sub-command to its end. */
  async run(args: string[], environment: Record<string, string> = {}): Promise<ProgramResult> {
    const child = spawn('bin/hm9000', [...args, `--config=${this.configPath}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].on('data', (chunk: Buffer) => {
        texts[name] += chunk.toString();
      });
    }
    const [status] = (await once(child, 'close')) as [number | null];
    return { status, ...texts };
  }

  /** Starts it; it is not ready then. */
  start(): void {
    this.child = spawn('bin/hm9000', [this.configPath], { stdio: 'ignore' });
  }

  get isRunning(): boolean {
    return this.child?.exitCode === null && this.child.signalCode === null;
  }

  /** Exit status; null after a signal, undefined before the end. */
  get status(): number | null | undefined {
    return this.isRunning ? undefined : this.child?.exitCode;
  }

  /** What it keeps when its store is its own. */
  get statePath(): string {
    return join(this.directory, 'state.db');
  }

  async log(): Promise<string> {
    return readFile(join(this.directory, 'hm9000.log'), 'utf8').catch(() => '');
  }

  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Ends it, as an operator would. */
  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  /** Ends it, and removes its files. */
  async dispose(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.child || !this.isRunning) return;
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
  }
}
