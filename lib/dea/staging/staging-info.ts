import { basename, dirname } from 'node:path';
import { load as parseYaml } from 'js-yaml';
import { z } from 'zod';

const text = z.string().nullish().catch(null);
/** A number as it is spelled; a nested value would be spelled out without end if it refers to itself. */
const command = z.union([z.string(), z.number().transform(String), z.boolean().transform(String)]);

const schema = z.object({
  buildpack_path: text,
  detected_buildpack: text,
  start_command: text,
  effective_procfile: z.record(z.string(), command).nullish().catch(null),
  staging_error: z.object({ type: z.string(), message: z.string() }).nullish().catch(null),
});

/** What the builder left in `staging_info.yml` (docs/protocol/dea.md §18). */
export type StagingInfo = z.output<typeof schema>;

const empty: StagingInfo = schema.parse({});

/** Buildpacks can write what they like into the file: whatever is not understood counts as absent. */
export function parseStagingInfo(yaml: string | undefined): StagingInfo {
  if (yaml === undefined) return empty;
  try {
    return schema.parse(parseYaml(yaml));
  } catch {
    return empty;
  }
}

/** The key of the admin buildpack that staged the app; null for one that is no admin buildpack. */
export function buildpackKey(
  info: StagingInfo,
  adminBuildpacksDirectory: string,
  chosenKey: string | null | undefined,
) {
  if (chosenKey) return chosenKey;
  const path = info.buildpack_path;
  return path && dirname(path) === adminBuildpacksDirectory ? basename(path) : null;
}
