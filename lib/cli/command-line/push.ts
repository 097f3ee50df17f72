import { type Command, Option } from 'commander';
import { CliError } from '../cli-error.js';
import { push } from '../commands/push.js';
import type { RouteWishes } from '../manifest/routes.js';
import type { AppOverrides } from '../manifest/selection.js';
import { collectVariable, parseCount, parseMegabytes } from '../quantities.js';
import type { RunCommand } from '../session.js';
import { parseDomain, parseHostname, parsePosition, parseResettable, parseRoutePath } from './options.js';

interface GivenOptions {
  buildpack?: string | null;
  command?: string | null;
  domain?: string;
  manifest?: string | false;
  instances?: number;
  disk?: number;
  memory?: number;
  hostname?: string | false;
  path?: string;
  stack?: string;
  timeout?: number;
  healthCheckType?: 'port' | 'none' | 'process';
  routePath?: string;
  env: Record<string, string>;
  route: boolean;
  start: boolean;
  randomRoute?: boolean;
}

/** `push`, with the words and letters of cf. */
export function addPushCommand(program: Command, run: RunCommand): void {
  program
    .command('push [name] [path]')
    .alias('p')
    .description('create or update an app, or all of a manifest: upload, stage and start')
    .option('-b, --buildpack <name-or-url>', 'a buildpack; "default" goes back to detection', parseResettable)
    .option('-c, --command <command>', 'start command; "default" goes back to the buildpack\'s', parseResettable)
    .option('-d, --domain <domain>', "domain of the app's address", parseDomain)
    .option('-f, --manifest <path>', 'manifest, or a directory with one (default: manifest.yml here, if there is one)')
    .option('-i, --instances <number>', 'how many instances', parseCount)
    .option('-k, --disk <limit>', 'disk of each instance, 512M or 1G', parseMegabytes)
    .option('-m, --memory <limit>', 'memory of each instance, 256M or 1G', parseMegabytes)
    .option('-n, --hostname <host>', "first part of the app's address (default: its name)", parseHostname)
    .option('-p, --path <path>', "the app's files: directory or zip file (default: here)")
    .option('-s, --stack <name>', 'root filesystem')
    .option('-t, --timeout <seconds>', 'how long the app may take to start', parsePosition)
    .addOption(
      new Option('-u, --health-check-type <type>', 'how it is seen that it has started').choices([
        'port',
        'process',
        'none',
      ]),
    )
    .option('--route-path <path>', "path of the app's address", parseRoutePath)
    .option('--env <name=value>', 'environment variable; repeat it for more', collectVariable, {})
    .option('--no-hostname', 'the domain alone is the address')
    .option('--no-manifest', 'pay no attention to manifest.yml')
    .option('--no-route', 'no address at all')
    .option('--no-start', 'do not start it')
    .option('--random-route', 'an address with random words, if it has none')
    .action((name: string | undefined, files: string | undefined, given: GivenOptions) => {
      const overrides = overridesOf(name, files, given);
      return run((session) => push(session, { overrides, manifest: given.manifest, isStarted: given.start }));
    });
}

function overridesOf(name: string | undefined, second: string | undefined, given: GivenOptions): AppOverrides {
  const { path, buildpack, command, instances, disk, memory, stack, timeout, healthCheckType, env } = given;
  if (path !== undefined && second !== undefined) throw new CliError('give the files once, as PATH or with -p');
  const files = path ?? second;
  return {
    ...(name !== undefined && { name }),
    ...(files !== undefined && { path: files }),
    ...(buildpack !== undefined && { buildpack }),
    ...(command !== undefined && { command }),
    ...(instances !== undefined && { instances }),
    ...(disk !== undefined && { disk }),
    ...(memory !== undefined && { memory }),
    ...(stack !== undefined && { stack }),
    ...(timeout !== undefined && { timeout }),
    ...(healthCheckType !== undefined && { healthCheckType: healthCheckType === 'port' ? 'port' : 'none' }),
    env,
    routing: routingOf(given),
  };
}

function routingOf({ hostname, domain, routePath, route, randomRoute }: GivenOptions): RouteWishes {
  return {
    ...(typeof hostname === 'string' && { hosts: [hostname] }),
    ...(hostname === false && { hasNoHostname: true }),
    ...(domain !== undefined && { domains: [domain] }),
    ...(routePath !== undefined && { path: routePath }),
    ...(!route && { hasNoRoute: true }),
    ...(randomRoute && { isRandom: true }),
  };
}
