import { CliError } from '../cli-error.js';
import type { RouteWishes } from './routes.js';
import type { ManifestApplication } from './schema.js';

/** An app as it is to be pushed; what is undefined stays as it is, or gets its default. MB, seconds. */
export interface AppSpec {
  name: string;
  /** Directory or zip file; undefined: the current directory. */
  path?: string;
  memory?: number;
  disk?: number;
  instances?: number;
  stack?: string;
  /** How long the app may take to start. */
  timeout?: number;
  healthCheckType?: 'port' | 'none';
  /** Null goes back to detection. */
  buildpack?: string | null;
  /** Null goes back to the buildpack's. */
  command?: string | null;
  env: Record<string, string>;
  routing: RouteWishes;
}

/** What the command line says of one app; it goes before the manifest. */
export type AppOverrides = Partial<AppSpec>;

/**
 * The apps to push: of a manifest with one app that one, whatever its name is to be; of one with several the named one,
 * or all of them in their order; without a manifest the named one. Pure.
 *
 * @param applications undefined when there is no manifest
 * @throws CliError when none is meant, when options would hit several, or when one asks for what cannot be had
 */
export function selectApps(applications: ManifestApplication[] | undefined, overrides: AppOverrides): AppSpec[] {
  if (applications === undefined || applications.length === 0) return [complete({}, overrides)];
  const [only] = applications;
  if (applications.length === 1 && only) return [complete(only, overrides)];
  const { name, ...options } = overrides;
  if (name !== undefined) {
    const named = applications.find((application) => application.name === name);
    if (!named) throw new CliError(`the manifest has no app named ${name}; it has ${namesOf(applications)}`);
    return [complete(named, overrides)];
  }
  if (isAnySet(options)) {
    throw new CliError(`these options are for one app, the manifest has several; name one of ${namesOf(applications)}`);
  }
  return refuseTwins(applications.map((application) => complete(application, {})));
}

function complete(application: ManifestApplication, overrides: AppOverrides): AppSpec {
  const name = overrides.name ?? application.name;
  if (name === undefined) throw new CliError('name an app, or give a manifest that does');
  const { services = [] } = application;
  if (services.length > 0) {
    throw new CliError(`${name}: services cannot be bound, this Cloud Controller has none: ${services.join(', ')}`);
  }
  const { buildpacks: [onlyBuildpack] = [] } = application;
  const buildpack = application.buildpack !== undefined ? application.buildpack : onlyBuildpack;
  const spec: AppSpec = {
    name,
    ...defined({
      path: application.path,
      memory: application.memory,
      disk: application.disk_quota ?? application['disk-quota'],
      instances: application.instances,
      stack: application.stack,
      timeout: application.timeout,
      healthCheckType: application['health-check-type'],
      buildpack,
      command: application.command,
    }),
    ...defined(overrides),
    env: { ...application.env, ...overrides.env },
    routing: routingOf(name, application, overrides.routing ?? {}),
  };
  return spec;
}

/** A host or domain of the command line takes the place of all those in the manifest. */
function routingOf(name: string, application: ManifestApplication, options: RouteWishes): RouteWishes {
  const { routes = [] } = application;
  const hosts = joined(application.host, application.hosts);
  const domains = joined(application.domain, application.domains);
  const hasNoHostname = application['no-hostname'] ?? false;
  const isSpecific = options.hosts ?? options.domains ?? options.path ?? options.hasNoHostname;
  if (routes.length > 0) {
    if (hosts ?? domains ?? (hasNoHostname || undefined)) {
      throw new CliError(
        `${name}: the manifest has routes, so host, hosts, domain, domains and no-hostname cannot be used`,
      );
    }
    if (isSpecific !== undefined) {
      throw new CliError(`${name}: the manifest has routes, so options for host, domain and path cannot be used`);
    }
  }
  const manifest: RouteWishes = {
    ...(routes.length > 0 && { routes: routes.map(({ route }) => lowerCasedHost(route)) }),
    ...defined({ hosts, domains }),
    ...(hasNoHostname && options.hosts === undefined && { hasNoHostname }),
    ...(application['no-route'] && { hasNoRoute: true }),
    ...(application['random-route'] && { isRandom: true }),
  };
  return { ...manifest, ...defined(options) };
}

function lowerCasedHost(route: string): string {
  return route.replace(/^[^/]*/, (host) => host.toLowerCase()).replace(/\/$/, '');
}

function joined(one: string | undefined, more: string[] | undefined): string[] | undefined {
  const all = [...new Set([...(one === undefined ? [] : [one]), ...(more ?? [])])];
  return all.length === 0 ? undefined : all;
}

function refuseTwins(specs: AppSpec[]): AppSpec[] {
  const twin = specs.find(({ name }, position) => specs.findIndex((other) => other.name === name) !== position);
  if (twin) throw new CliError(`the manifest has two apps named ${twin.name}`);
  return specs;
}

function namesOf(applications: ManifestApplication[]): string {
  return applications.map(({ name }) => name ?? '(one without a name)').join(', ');
}

function isAnySet(options: AppOverrides): boolean {
  const { env = {}, routing = {}, ...others } = options;
  return Object.keys({ ...env, ...defined(routing), ...defined(others) }).length > 0;
}

function defined<Fields extends object>(fields: Fields): { [Key in keyof Fields]?: Exclude<Fields[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Fields]?: Exclude<Fields[Key], undefined>;
  };
}
