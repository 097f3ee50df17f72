import { type Command, createArgument } from 'commander';
import { mapRoute, type RouteArguments, unmapRoute } from '../commands/routes.js';
import type { RunCommand } from '../session.js';
import { parseDomain, parseHostname, parseRoutePath } from './options.js';

const commands = [
  { name: 'map-route', description: 'give an app one more address', act: mapRoute },
  { name: 'unmap-route', description: 'take an address from an app', act: unmapRoute },
];

/** Commands about the addresses of apps. */
export function addRouteCommands(program: Command, run: RunCommand): void {
  for (const { name: command, description, act } of commands) {
    program
      .command(command)
      .description(description)
      .argument('<name>', 'the app')
      .addArgument(createArgument('<domain>', 'its domain').argParser(parseDomain))
      .option('-n, --hostname <host>', 'what stands before the domain', parseHostname)
      .option('--path <path>', 'path below the host', parseRoutePath)
      .action((name: string, domain: string, options: Omit<RouteArguments, 'domain'>) =>
        run((session) => act(session, name, { ...options, domain })),
      );
  }
}
