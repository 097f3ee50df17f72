import { createSecureContext } from 'node:tls';
import { ConfigError, readConfigFile } from '../config/load.js';
import { describeUnknownKey, type UnknownKey, unknownKeys, warnOfUnknownKeys } from '../config/unknown-keys.js';
import { localAddress } from '../http/local-address.js';
import { type Logger, silentLogger } from '../logging/logger.js';
import { createStenoLogger } from '../logging/steno.js';
import { failedLoading, runProgram } from '../process/program.js';
import { type Command, parseCommandLine, UsageError } from './command-line.js';
import {
  type HealthManagerConfig,
  healthManagerConfigSchema,
  heartbeatTls,
  loadHealthManagerConfig,
} from './config.js';
import { dump } from './dump.js';
import { HealthManager, type ModuleName, moduleNames } from './health-manager.js';
import { type OneShotName, runOnce } from './one-shot.js';
import { rawDump } from './raw-dump.js';
import type { HealthStore } from './store/health-store.js';
import { openStore } from './store/open-store.js';

/** A supervisor knows by it that a run hung or a lock was lost (docs/protocol/health-manager.md §11). */
const abortStatus = 197;
const usageStatus = 2;

const details = `Modules: ${moduleNames.join(', ')}.

  --only <modules>   run only these, separated by commas; others run beside it on the same Redis

As upstream: hm9000 <command> --config=<path>, where command is one of
  listen, evacuator, serve_api, serve_metrics       run until they are ended
  fetch_desired, analyze, shred                     run once; with --poll again and again; analyze fetches and sends, too
  send                                              sends once what is due
  dump                                              prints what the store knows; with --raw as it stands there
With --check it also reads the certificates, and names the keys that it does not know.
Every key of the configuration is explained in config/hm9000.yml.`;

void main();

async function main(): Promise<void> {
  try {
    await run(parseCommandLine(process.argv.slice(2)));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = error.isConfigMissing ? 1 : usageStatus;
  }
}

async function run(command: Command): Promise<void> {
  switch (command.kind) {
    case 'dump':
      return printDump(command.configPath, command.isRaw ? rawDump : dump);
    case 'once':
      return runAlone(command.name, command.configPath);
    case 'run':
      return runModules(command.args, command.modules);
  }
}

async function printDump(path: string, print: (store: HealthStore) => Promise<string>): Promise<void> {
  const config = loadOrReport(path);
  if (!config) return;
  try {
    const { store } = openStore(config, silentLogger);
    try {
      await store.start();
      process.stdout.write(await print(store));
    } finally {
      await store.stop();
    }
  } catch (error) {
    process.stderr.write(`dump failed: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

async function runAlone(name: OneShotName, path: string): Promise<void> {
  const config = loadOrReport(path, loadShared);
  if (!config) return;
  const logger = createLogger(config);
  const onTimeout = () => {
    logger.fatal(`${name} timed out. Aborting!`);
    process.exit(abortStatus);
  };
  try {
    await runOnce({ name, config, store: openStore(config, logger).store, onTimeout, logger });
  } catch (error) {
    process.stderr.write(`${name} failed: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

function loadOrReport(path: string, load = loadHealthManagerConfig): HealthManagerConfig | undefined {
  try {
    return load(path);
  } catch (error) {
    process.stderr.write(failedLoading(error as Error).stderr);
    process.exitCode = 1;
    return undefined;
  }
}

/** @throws as `loadHealthManagerConfig`, and when nobody else could see what this process knows */
function loadShared(path: string): HealthManagerConfig {
  const config = loadHealthManagerConfig(path);
  if (config.store_type !== 'memory') return config;
  throw new ConfigError(path, ['store_type: must be redis for modules that run in processes of their own']);
}

interface LoadedConfig {
  config: HealthManagerConfig;
  /** Ignored, as upstream does; but said, because they may be misspelt. */
  unknown: UnknownKey[];
}

function runModules(args: string[], modules: readonly ModuleName[]): Promise<void> {
  return runProgram<LoadedConfig, HealthManager>(
    {
      name: 'hm9000',
      summary: 'Keeps the wanted number of app instances running, as HM9000 did.',
      details,
      load: (path) => ({
        config: modules.length < moduleNames.length ? loadShared(path) : loadHealthManagerConfig(path),
        unknown: unknownKeys(readConfigFile(path), healthManagerConfigSchema),
      }),
      async probe({ config, unknown }) {
        if (config.ssl) createSecureContext(heartbeatTls(config.ssl));
        return { text: unknown.map((key) => `${describeUnknownKey(key)}\n`).join(''), isFit: true };
      },
      async create({ config, unknown }) {
        const logger = createLogger(config);
        warnOfUnknownKeys(unknown, logger);
        return HealthManager.create({
          config,
          ...openStore(config, logger),
          modules,
          localIp: config.local_ip ?? (await localAddress()),
          onAbort: () => process.exit(abortStatus),
          logger,
        });
      },
    },
    args,
  );
}

function createLogger({ log_level: level, log_file: file }: HealthManagerConfig): Logger {
  return createStenoLogger({
    source: 'hm9000',
    level: level === 'DEBUG' ? 'debug' : 'info',
    ...(file !== undefined && { file }),
  });
}
