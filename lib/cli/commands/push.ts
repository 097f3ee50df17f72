import { resolve } from 'node:path';
import type { App, AppChange } from '../api/resources.js';
import { launch } from '../launch.js';
import { loadManifest, type Manifest } from '../manifest/load.js';
import { planRoutes } from '../manifest/routes.js';
import { type AppOverrides, type AppSpec, selectApps } from '../manifest/selection.js';
import { packFiles } from '../package.js';
import { formatBytes } from '../quantities.js';
import type { Session } from '../session.js';

export interface PushOptions {
  /** What is said of the app on the command line. */
  overrides: AppOverrides;
  /** File or directory; undefined: `manifest.yml` in the current directory, if there is one; false: none. */
  manifest: string | false | undefined;
  /** Whether the apps are started. */
  isStarted: boolean;
}

/** Creates or changes apps, uploads their files, starts them and watches each until it answers. */
export async function push(session: Session, { overrides, manifest, isStarted }: PushOptions): Promise<void> {
  const { line, terminal } = session;
  const currentDirectory = terminal.directory ?? process.cwd();
  const found = manifest === false ? undefined : await loadManifest(manifest, currentDirectory);
  if (found) tellOf(found, session);
  const specs = selectApps(found?.applications, overrides);
  for (const [position, spec] of specs.entries()) {
    if (position > 0) line();
    await pushApp(session, { ...spec, path: resolve(currentDirectory, spec.path ?? '.') }, isStarted);
  }
}

function tellOf({ path, warnings }: Manifest, { line, terminal }: Session): void {
  line(`Using manifest ${path}`);
  for (const warning of warnings) terminal.error(`warning: ${warning}\n`);
}

type PlacedSpec = AppSpec & { path: string };

async function pushApp(session: Session, spec: PlacedSpec, isStarted: boolean): Promise<void> {
  const { client, line, terminal } = session;
  const bits = await packFiles(spec.path);
  try {
    const app = await createOrChange(session, spec);
    line(`Uploading ${bits.files} ${bits.files === 1 ? 'file' : 'files'}, ${formatBytes(bits.zipBytes)} packed`);
    await client.uploadBits(app.guid, bits.path, (sent) => {
      if (terminal.isInteractive) terminal.error(`\r  ${formatBytes(sent)} of ${formatBytes(bits.zipBytes)}\x1b[K`);
    });
    if (terminal.isInteractive) terminal.error('\r\x1b[K');
    if (!isStarted) return line(`${app.name} is pushed and stopped; to start it: isthmus start ${app.name}`);
    line(`Starting ${app.name}`);
    const started = await client.updateApp(app.guid, { state: 'STARTED' });
    await launch(session, started);
  } finally {
    await bits.remove();
  }
}

async function createOrChange(session: Session, spec: AppSpec): Promise<App> {
  const { client, line } = session;
  const existing = await client.findApp(spec.name);
  const change = await changeOf(session, spec, existing);
  if (!existing) {
    line(`Creating app ${spec.name}`);
    return client.createApp({ name: spec.name, ...change });
  }
  line(`Updating app ${spec.name}`);
  // Stopped first, as new files and limits take effect at the next start only.
  const { app } = await client.updateApp(existing.guid, { ...change, state: 'STOPPED' });
  return app;
}

async function changeOf({ client }: Session, spec: AppSpec, existing: App | undefined): Promise<AppChange> {
  const { memory, disk, instances, stack, timeout, healthCheckType, buildpack, command, env, routing } = spec;
  const { domain } = await client.info();
  const routes = planRoutes(routing, { name: spec.name, routes: existing?.routes ?? [] }, domain, Math.random);
  return {
    ...(memory !== undefined && { memory }),
    ...(disk !== undefined && { disk_quota: disk }),
    ...(instances !== undefined && { instances }),
    ...(stack !== undefined && { stack }),
    ...(timeout !== undefined && { health_check_timeout: timeout }),
    ...(healthCheckType !== undefined && { health_check_type: healthCheckType }),
    ...(buildpack !== undefined && { buildpack }),
    ...(command !== undefined && { command }),
    ...(Object.keys(env).length > 0 && { env: { ...existing?.env, ...env } }),
    ...(routes && { routes }),
  };
}
