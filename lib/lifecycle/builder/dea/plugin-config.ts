import { join } from 'node:path';
import { z } from 'zod';
import { loadConfig } from '../../../config/load.js';

const text = z.string().nullish();

/** The part of a staging message's `properties` that the builder acts on; the rest is the agent's. */
const environmentSchema = z.looseObject({
  buildpack: text,
  buildpack_git_url: text,
  buildpack_key: text,
  meta: z.looseObject({ command: text }).nullish(),
});

const schema = z
  .object({
    source_dir: z.string(),
    dest_dir: z.string(),
    cache_dir: z.string().default('/tmp/cache'),
    environment: environmentSchema,
    staging_info_path: z.string().optional(),
    buildpack_dirs: z
      .array(z.string())
      .nullish()
      .transform((directories) => directories ?? []),
    buildpacks_dir: z.string().default('/tmp/buildpacks'),
  })
  .transform((config) => ({
    ...config,
    staging_info_path: config.staging_info_path ?? join(config.dest_dir, 'staging_info.yml'),
  }));

/** What the agent tells the builder (docs/protocol/dea.md §17.6). All paths are absolute. */
export type PluginConfig = z.output<typeof schema>;

/** @throws ConfigFileError, ConfigError */
export function loadPluginConfig(path: string): PluginConfig {
  return loadConfig(path, schema);
}
