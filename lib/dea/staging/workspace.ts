import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A staging task's directory on the host, which its container may read (docs/protocol/dea.md §17.3). */
export class Workspace {
  private constructor(readonly path: string) {}

  /** Makes one below `directory`. */
  static async create(directory: string): Promise<Workspace> {
    const path = await mkdtemp(join(directory, 'task-'));
    // Read by the app's user in the container.
    await chmod(path, 0o755);
    await mkdir(join(path, 'staged'), { mode: 0o755 });
    return new Workspace(path);
  }

  get pluginConfigFile(): string {
    return join(this.path, 'plugin_config');
  }

  get packageFile(): string {
    return join(this.path, 'app.zip');
  }

  /** The buildpack cache of the last staging, as it was downloaded. */
  get cacheFile(): string {
    return join(this.path, 'buildpack_cache.tgz');
  }

  get dropletFile(): string {
    return join(this.path, 'staged', 'droplet.tgz');
  }

  /** The buildpack cache for the next staging. */
  get packedCacheFile(): string {
    return join(this.path, 'staged', 'buildpack_cache.tgz');
  }

  get hasCache(): boolean {
    return existsSync(this.cacheFile);
  }

  async writePluginConfig(yaml: string): Promise<void> {
    await writeFile(this.pluginConfigFile, yaml, { mode: 0o644 });
    await chmod(this.pluginConfigFile, 0o644);
  }

  async remove(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }
}
