import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mountOverlay, unmount } from '../lib/containers/oci/mounts.js';
import { runCommand } from '../lib/process/command.js';

/**
 * The peer that the engine is measured against: a runtime alone, on a bundle as `<runtime> spec` makes it over a mounted
 * overlay, without network, quota or limits.
 */
export class BareBundle {
  #runs = 0;

  private constructor(
    private readonly runtime: 'crun' | 'runc',
    private readonly directory: string,
  ) {}

  static async prepare(rootfs: string, command: string[], runtime: 'crun' | 'runc' = 'crun'): Promise<BareBundle> {
    const directory = await mkdtemp(join(tmpdir(), 'bare-'));
    const [upper, work, target] = ['upper', 'work', 'rootfs'].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    await Promise.all([upper, work, target].map((path) => mkdir(path)));
    await mountOverlay({ directory, lower: [rootfs], upper, work, target, volatile: true });
    await runCommand(runtime, ['spec'], { cwd: directory });
    const configFile = join(directory, 'config.json');
    const config = JSON.parse(await readFile(configFile, 'utf8'));
    config.process = { ...config.process, args: command, terminal: false };
    config.root = { path: target, readonly: false };
    await writeFile(configFile, JSON.stringify(config));
    return new BareBundle(runtime, directory);
  }

  /** Milliseconds until the bundle's process has said its line. */
  async run(): Promise<number> {
    const begun = performance.now();
    const child = spawn(this.runtime, this.#arguments('run', '--bundle', this.directory, this.#newId()), {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const took = performance.now() - begun;
    if (child.exitCode === null) await once(child, 'exit');
    return took;
  }

  /** Makes and starts a container that goes on. */
  async runDetached(): Promise<{ id: string; tookMs: number }> {
    const id = this.#newId();
    const tookMs = await this.#timed('run', '--detach', '--bundle', this.directory, id);
    return { id, tookMs };
  }

  /** Milliseconds that a program takes in a container that goes on. */
  exec(id: string, program: string): Promise<number> {
    return this.#timed('exec', id, program);
  }

  delete(id: string): Promise<number> {
    return this.#timed('delete', '--force', id);
  }

  async remove(): Promise<void> {
    await unmount([join(this.directory, 'rootfs')]);
    await rm(this.directory, { recursive: true });
  }

  async #timed(...args: string[]): Promise<number> {
    const begun = performance.now();
    const child = spawn(this.runtime, this.#arguments(...args), { stdio: 'ignore' });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`${this.runtime} ${args[0]} ended with ${code}`);
    return performance.now() - begun;
  }

  #newId(): string {
    this.#runs += 1;
    return `bare-${this.#runs}`;
  }

  #arguments(...args: string[]): string[] {
    return ['--root', join(this.directory, 'runtime'), ...args];
  }
}
