import { homedir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { stenoLevels } from '../logging/steno.js';
import type { StandaloneOptions } from './layout.js';
import { Standalone } from './standalone.js';

const isRoot = process.getuid?.() === 0;
const defaultDataDirectory = isRoot
  ? '/var/lib/isthmus/standalone'
  : join(homedir(), '.local/share/isthmus/standalone');

function parseNumber(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number <= 0) throw new InvalidArgumentError('expected a positive whole number');
  return number;
}

const command = new Command('standalone')
  .description('Runs everything on this machine: message bus, cell, router and a small Cloud Controller.')
  .option('--data <directory>', 'where everything is kept', defaultDataDirectory)
  .option('--domain <name>', 'apps are <name>.<domain>', 'localhost')
  .option('--router-port <port>', 'first choice of the router’s port', parseNumber, 8080)
  .option('--memory <megabytes>', 'memory that apps share; default: half of the machine’s', parseNumber)
  .addOption(
    new Option('--engine <name>', 'container engine; default: what fits the machine').choices(['oci', 'process']),
  )
  .addOption(new Option('--log-level <level>', 'what goes into the log').choices(stenoLevels).default('info'))
  .allowExcessArguments(false)
  .parse();

const given = command.opts<{
  data: string;
  domain: string;
  routerPort: number;
  memory?: number;
  engine?: StandaloneOptions['engine'];
  logLevel: StandaloneOptions['logLevel'];
}>();

const standalone = new Standalone(
  {
    dataDirectory: given.data,
    domain: given.domain,
    routerPort: given.routerPort,
    memoryMb: given.memory,
    engine: given.engine,
    logLevel: given.logLevel,
  },
  { print, fail: (description) => void end(1, description) },
);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

let isEnding = false;

async function end(status: number, complaint?: string): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  if (complaint) process.stderr.write(`standalone: ${complaint}\n`);
  await standalone.stop();
  process.exit(status);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
  process.on(signal, () => {
    if (!isEnding) print('\nStopping: apps, cell, router, controller, message bus.');
    void end(0);
  });
}

standalone.start().catch((error: Error) => end(1, error.message));
