import { z } from 'zod';
import { loadConfig } from '../../config/load.js';
import { stenoLevels } from '../../logging/steno.js';

const port = z.int().min(0).max(65535);

/** What the directory server reads of the agent's `dea.yml` (docs/protocol/dea.md §20.4); the rest may be anything. */
const dirServerConfigSchema = z.object({
  directory_server: z.object({
    v2_port: port,
    file_api_port: port.min(1),
    address: z.string().default('0.0.0.0'),
    streaming_timeout: z.int().min(0).max(2_147_483).default(0),
    logging: z.object({
      level: z.enum(stenoLevels),
      file: z.string().optional(),
      syslog: z.string().optional(),
    }),
  }),
});

export type DirServerConfig = z.output<typeof dirServerConfigSchema>['directory_server'];

/** Seconds that a tail may be idle when the file does not say. */
const defaultStreamingTimeout = 60;

/** @throws ConfigFileError, ConfigError */
export function loadDirServerConfig(path: string): DirServerConfig {
  const { directory_server: config } = loadConfig(path, dirServerConfigSchema);
  return { ...config, streaming_timeout: config.streaming_timeout || defaultStreamingTimeout };
}
