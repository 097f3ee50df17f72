import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.js';
import type { TestIdentity } from './locket.js';
import { freeTcpPort } from './nats.js';

/** `bin/locket` with a configuration of its own, as an operator has it: upstream's JSON. */
export class LocketProgram {
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();

  private constructor(
    readonly directory: string,
    readonly configPath: string,
    readonly ports: { grpc: number; status: number },
  ) {}

  /** @param store keys of the configuration that name it; a directory of its own by default */
  static async create({ files }: TestIdentity, store?: Record<string, unknown>): Promise<LocketProgram> {
    const directory = await mkdtemp(join(tmpdir(), 'locket-'));
    const ports = { grpc: await freeTcpPort(), status: await freeTcpPort() };
    const config = {
      listen_address: `127.0.0.1:${ports.grpc}`,
      debug_address: `127.0.0.1:${ports.status}`,
      ca_file: files.caFile,
      cert_file: files.certFile,
      key_file: files.keyFile,
      log_file: join(directory, 'locket.log'),
      ...(store ?? { data_directory: join(directory, 'data') }),
    };
    const configPath = join(directory, 'locket.json');
    await writeFile(configPath, JSON.stringify(config));
    return new LocketProgram(directory, configPath, ports);
  }

  /** Starts it, and waits until it is healthy. */
  async start(): Promise<void> {
    this.#child = spawn('bin/locket', [this.configPath], { stdio: 'ignore' });
    this.#exited = once(this.#child, 'exit');
    await eventually(async () => (await fetch(`http://127.0.0.1:${this.ports.status}/health`)).ok || undefined, {
      what: 'bin/locket',
    });
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** @returns its exit status */
  async stop(): Promise<number | null | undefined> {
    await this.#end('SIGTERM');
    return this.#child?.exitCode;
  }

  /** Ends it, and removes its files. */
  async dispose(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child?.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    await this.#exited;
  }
}
