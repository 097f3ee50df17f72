import { constants } from 'node:os';
import { originalEnvironment } from '../original-environment.js';
import { loadPluginConfig } from './dea/plugin-config.js';
import { stageForDea } from './dea/staging.js';
import { StagingError } from './errors.js';

const defaultTimeoutSeconds = 900;

class StoppedError extends Error {
  constructor(readonly signalName: 'SIGTERM' | 'SIGINT') {
    super(`Staging was stopped by ${signalName}`);
  }
}

/** `run PLUGIN_CONFIG`: stages the app and answers with the exit status (docs/protocol/dea.md §18). */
async function main(args: string[]): Promise<number> {
  const [configPath] = args;
  if (args.length !== 1 || configPath === undefined || configPath.startsWith('-')) {
    process.stderr.write('Usage: run <plugin config path>\n');
    return 1;
  }
  try {
    const environment = originalEnvironment(process.env);
    await stageForDea({
      config: loadPluginConfig(configPath),
      environment,
      timeoutMs: timeoutSeconds(environment.STAGING_TIMEOUT) * 1000,
      signal: stopSignal(),
    });
    return 0;
  } catch (error) {
    return report(error);
  }
}

function timeoutSeconds(text: string | undefined): number {
  const seconds = Number(text);
  return seconds > 0 ? seconds : defaultTimeoutSeconds;
}

function stopSignal(): AbortSignal {
  const abort = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => abort.abort(new StoppedError(name)));
  return abort.signal;
}

/** Says what went wrong where the user sees it. */
function report(error: unknown): number {
  if (error instanceof StagingError) {
    if (error.cause instanceof Error) process.stderr.write(`${error.cause.message}\n`);
    process.stdout.write(`Staging failed: ${error.message}\n`);
    return 1;
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return error instanceof StoppedError ? 128 + constants.signals[error.signalName] : 1;
}

// Output to pipes and files is written when `write` returns; nothing is lost by ending here.
main(process.argv.slice(2)).then((status) => process.exit(status));
