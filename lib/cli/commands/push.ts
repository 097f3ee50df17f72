import { launch } from '../launch.js';
import { packDirectory } from '../package.js';
import { formatBytes } from '../quantities.js';
import type { App, AppChange } from '../resources.js';
import type { Session } from '../session.js';

export interface PushOptions {
  name: string;
  directory: string;
  memory?: number;
  disk?: number;
  instances?: number;
  buildpack?: string;
  command?: string;
  env: Record<string, string>;
  /** Host part of the route. @default the app's name */
  hostname?: string;
  /** Whether the app gets a route at all. */
  hasRoute: boolean;
}

/** Creates or changes an app, uploads its files, starts it and watches it until it answers. */
export async function push(session: Session, options: PushOptions): Promise<void> {
  const { client, line, terminal } = session;
  const bits = await packDirectory(options.directory);
  try {
    const app = await createOrChange(session, options);
    line(`Uploading ${bits.files} ${bits.files === 1 ? 'file' : 'files'}, ${formatBytes(bits.zipBytes)} packed`);
    await client.uploadBits(app.guid, bits.path, (sent) => {
      if (terminal.isInteractive) terminal.error(`\r  ${formatBytes(sent)} of ${formatBytes(bits.zipBytes)}\x1b[K`);
    });
    if (terminal.isInteractive) terminal.error('\r\x1b[K');
    line(`Starting ${app.name}`);
    const started = await client.updateApp(app.guid, { state: 'STARTED' });
    await launch(session, started);
  } finally {
    await bits.remove();
  }
}

async function createOrChange(session: Session, options: PushOptions): Promise<App> {
  const { client, line } = session;
  const existing = await client.findApp(options.name);
  const change = await changeOf(session, options, existing);
  if (!existing) {
    line(`Creating app ${options.name}`);
    return client.createApp({ name: options.name, ...change });
  }
  line(`Updating app ${options.name}`);
  // Stopped first, as new files and limits take effect at the next start only.
  const { app } = await client.updateApp(existing.guid, { ...change, state: 'STOPPED' });
  return app;
}

async function changeOf(session: Session, options: PushOptions, existing: App | undefined): Promise<AppChange> {
  const { memory, disk, instances, buildpack, command, env } = options;
  const routes = await routesOf(session, options, existing);
  return {
    ...(memory !== undefined && { memory }),
    ...(disk !== undefined && { disk_quota: disk }),
    ...(instances !== undefined && { instances }),
    // `default` goes back to detection and to the buildpack's own command.
    ...(buildpack !== undefined && { buildpack: buildpack === 'default' ? null : buildpack }),
    ...(command !== undefined && { command: command === 'default' ? null : command }),
    ...(Object.keys(env).length > 0 && { env: { ...(existing?.env as Record<string, string>), ...env } }),
    ...(routes && { routes }),
  };
}

/** An app that is there keeps its routes unless others are asked for. */
async function routesOf(
  session: Session,
  options: PushOptions,
  existing: App | undefined,
): Promise<string[] | undefined> {
  if (!options.hasRoute) return [];
  if (existing && existing.routes.length > 0 && options.hostname === undefined) return undefined;
  const { domain } = await session.client.info();
  return [`${options.hostname ?? hostnameOf(options.name)}.${domain}`];
}

/** The app's name as a host name's first label. */
export function hostnameOf(name: string): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 63);
  return label || 'app';
}
