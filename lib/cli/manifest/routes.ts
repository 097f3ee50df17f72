/** What is asked for of an app's addresses. */
export interface RouteWishes {
  /** Whole routes, `host.domain[/path]`. */
  routes?: string[];
  /** Hosts and domains: each with each makes a route. */
  hosts?: string[];
  domains?: string[];
  /** The domains themselves, without a host before them. */
  hasNoHostname?: boolean;
  /** No address at all. */
  hasNoRoute?: boolean;
  /** A host with random words, unless the app has a route. */
  isRandom?: boolean;
  /** Of all routes but those that are given whole. */
  path?: string;
}

export interface RoutedApp {
  name: string;
  /** What it has; none for a new app. */
  routes: string[];
}

/** Gives a number from 0 up to, without, 1. */
export type Random = () => number;

/**
 * The routes that an app is to have: those it has, and what is asked for beside them. Pure.
 *
 * @returns undefined when they stay as they are
 */
export function planRoutes(
  wishes: RouteWishes,
  app: RoutedApp,
  defaultDomain: string,
  random: Random,
): string[] | undefined {
  if (wishes.hasNoRoute) return [];
  const wanted = wantedRoutes(wishes, app, defaultDomain, random);
  const missing = wanted.filter((route) => !app.routes.includes(route));
  return missing.length === 0 ? undefined : [...app.routes, ...new Set(missing)];
}

function wantedRoutes(wishes: RouteWishes, app: RoutedApp, defaultDomain: string, random: Random): string[] {
  const { routes, hosts, domains = [defaultDomain], hasNoHostname, isRandom, path } = wishes;
  if (routes) return routes;
  const isSpecific = hosts !== undefined || wishes.domains !== undefined || hasNoHostname || path !== undefined;
  if (!isSpecific && app.routes.length > 0) return [];
  const chosen = hosts ?? [isRandom ? randomHostname(app.name, random) : hostnameOf(app.name)];
  return domains.flatMap((domain) =>
    hasNoHostname ? [routeOf(undefined, domain, path)] : chosen.map((host) => routeOf(host, domain, path)),
  );
}

/** `host.domain/path`; the path may come with or without its slash. */
export function routeOf(host: string | undefined, domain: string, path: string | undefined): string {
  const tail = path === undefined ? '' : `/${path.replace(/^\/+/, '')}`.replace(/\/$/, '');
  return `${host === undefined ? '' : `${host}.`}${domain}${tail}`;
}

/** The app's name as a host name's first label. */
export function hostnameOf(name: string): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '');
  return label || 'app';
}

const adjectives = 'amber brave calm dapper eager fair gentle happy icy jolly keen lucid mellow neat open plain'.split(
  ' ',
);
const nouns =
  'anchor beacon canyon delta ember fjord glacier harbor island jetty knoll lagoon marsh narrows oasis pass'.split(' ');

/** The app's name with two words and a number: free of clashes as good as always. */
function randomHostname(name: string, random: Random): string {
  const pick = (words: string[]) => words[Math.floor(random() * words.length)];
  const tail = `${pick(adjectives)}-${pick(nouns)}-${Math.floor(random() * 1000)}`;
  return `${hostnameOf(name).slice(0, 62 - tail.length)}-${tail}`;
}
