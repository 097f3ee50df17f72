import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { load as parseYaml, dump as toYaml } from 'js-yaml';

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));

/** Directory of a fixture buildpack. */
export function fixtureBuildpack(name: string): string {
  return join(fixtures, 'buildpacks', name);
}

/** Directory of a fixture app. */
export function fixtureApp(name: string): string {
  return join(fixtures, 'apps', name);
}

/** A buildpack that is made for one spec: scripts by name, without their first line. */
export async function writeBuildpack(directory: string, scripts: Record<string, string>): Promise<string> {
  await mkdir(join(directory, 'bin'), { recursive: true });
  const all = { detect: 'echo made', compile: 'true', release: "echo '--- {}'", ...scripts };
  for (const [name, script] of Object.entries(all)) {
    await writeFile(join(directory, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return directory;
}

export interface BuilderRunOptions {
  /** Directory of the app's package. */
  app?: string;
  /** Directories of the installed buildpacks. */
  buildpacks?: string[];
  /** The staging message's properties. */
  properties?: Record<string, unknown>;
  environment?: Record<string, string>;
  /** Sees the builder's process once it runs. */
  onStart?: (pid: number) => void;
  /** Sees output as it comes. */
  onOutput?: (output: string) => void;
}

export interface BuilderRun {
  /** Exit status, or the signal that ended it. */
  status: number | string;
  /** Both streams in their order. */
  output: string;
  /** What `staging_info.yml` holds; undefined when there is none. */
  info: Record<string, unknown> | undefined;
  infoText: string | undefined;
}

/** Directories for stagings by a bundled builder on this machine, without a container. */
export class BuilderWorkspace {
  private constructor(
    private readonly bundle: string,
    readonly root: string,
  ) {}

  static async create(bundle: string): Promise<BuilderWorkspace> {
    const root = await mkdtemp(join(tmpdir(), 'builder-spec-'));
    return new BuilderWorkspace(bundle, root);
  }

  get appDirectory(): string {
    return join(this.root, 'staged/app');
  }

  get cacheDirectory(): string {
    return join(this.root, 'cache');
  }

  get fetchDirectory(): string {
    return join(this.root, 'fetched');
  }

  /** Stages an app; the cache stays from one run to the next. */
  async run(options: BuilderRunOptions): Promise<BuilderRun> {
    const unstaged = join(this.root, 'unstaged');
    const staged = join(this.root, 'staged');
    for (const path of [unstaged, staged]) await rm(path, { recursive: true, force: true });
    await mkdir(unstaged);
    await mkdir(staged);
    await cp(options.app ?? fixtureApp('static'), unstaged, { recursive: true, verbatimSymlinks: true });
    const configPath = join(this.root, 'plugin_config');
    const config = {
      source_dir: unstaged,
      dest_dir: staged,
      cache_dir: this.cacheDirectory,
      environment: options.properties ?? {},
      staging_info_path: join(staged, 'staging_info.yml'),
      buildpack_dirs: options.buildpacks ?? [fixtureBuildpack('static-buildpack')],
      buildpacks_dir: this.fetchDirectory,
    };
    await writeFile(configPath, toYaml(config));
    return this.start([configPath], options);
  }

  /** Runs the builder with arguments of its own. */
  async start(args: string[], options: BuilderRunOptions = {}): Promise<BuilderRun> {
    // As the agent does it: one pipe for both streams.
    const child = spawn('sh', ['-c', 'exec "$0" "$@" 2>&1', join(this.bundle, 'run'), ...args], {
      env: { ...process.env, STAGING_TIMEOUT: '30.0', ...options.environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.pid !== undefined) options.onStart?.(child.pid);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      options.onOutput?.(output);
    });
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    const infoText = await readFile(join(this.root, 'staged/staging_info.yml'), 'utf8').catch(() => undefined);
    const info = infoText === undefined ? undefined : (parseYaml(infoText) as Record<string, unknown>);
    return { status: code ?? signal ?? 'unknown', output, info, infoText };
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Numbers of the processes whose environment has an entry, `NAME=value`. */
export async function processesWith(entry: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')));
  return pids.filter((_, position) => environments[position]!.split('\0').includes(entry));
}
