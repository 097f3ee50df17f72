import { formatTable } from '../../process/table.js';
import type { App } from '../api/resources.js';
import { showInstances, showStats } from '../instance-table.js';
import { appAddress } from '../launch.js';
import { formatMegabytes, formatTime } from '../quantities.js';
import type { Session } from '../session.js';

/** Prints all apps, a line each. */
export async function apps(session: Session, asJson: boolean): Promise<void> {
  const all = await session.client.listApps();
  if (asJson) return printJson(session, all);
  if (all.length === 0) return session.line('no apps yet; try: isthmus push NAME DIR');
  const rows = all.map((app) => [
    app.name,
    app.state.toLowerCase(),
    runningOf(app),
    formatMegabytes(app.memory),
    formatMegabytes(app.disk_quota),
    app.routes.map((route) => appAddress(route, session.router)).join(', '),
  ]);
  for (const line of formatTable(['name', 'state', 'instances', 'memory', 'disk', 'addresses'], rows)) {
    session.line(line);
  }
}

/** Prints one app with its instances. */
export async function app(session: Session, name: string, asJson: boolean): Promise<void> {
  const found = await session.client.getApp(name);
  const areInstancesKnown = found.state === 'STARTED' && found.package_state === 'STAGED';
  const findInstances = async () => (areInstancesKnown ? session.client.instances(found.guid) : {});
  if (asJson) return printJson(session, { ...found, instance_states: await findInstances() });
  const facts = [
    ['name', found.name],
    ['guid', found.guid],
    ['state', found.state.toLowerCase()],
    ['staging', stagingOf(found)],
    ['buildpack', found.detected_buildpack ?? found.buildpack ?? '-'],
    ['command', found.command ?? found.detected_start_command ?? '-'],
    ['runs on', found.diego ? 'Diego' : 'DEA cells'],
    ['stack', found.stack],
    ['limits', `${formatMegabytes(found.memory)} memory, ${formatMegabytes(found.disk_quota)} disk`],
    ['instances', runningOf(found)],
    ['addresses', found.routes.map((route) => appAddress(route, session.router)).join(', ') || '-'],
    ['changed', formatTime(new Date(found.updated_at))],
  ];
  for (const [key = '', value = ''] of facts) session.line(`${`${key}:`.padEnd(12)}${value}`);
  if (!areInstancesKnown || found.instances === 0) return;
  // Last: what is known of the app is of use where nobody tells of its instances.
  const instances = await findInstances();
  session.line();
  showInstances(session, instances);
}

/** Prints what the app's instances use. */
export async function stats(session: Session, name: string, asJson: boolean): Promise<void> {
  const { guid } = await session.client.getApp(name);
  const figures = await session.client.stats(guid);
  if (asJson) printJson(session, figures);
  else showStats(session, figures);
}

/** Prints what happened to the app, newest last. */
export async function events(session: Session, name: string): Promise<void> {
  const { guid } = await session.client.getApp(name);
  const rows = (await session.client.events(guid))
    .reverse()
    .map(({ timestamp, type, metadata }) => [formatTime(new Date(timestamp)), type, describe(metadata)]);
  for (const line of formatTable(['time', 'event', 'details'], rows)) session.line(line);
}

/** Prints the instances that crashed, as the Cloud Controller knows of them. */
export async function crashes(session: Session, name: string): Promise<void> {
  const { guid } = await session.client.getApp(name);
  const all = await session.client.crashes(guid);
  if (all.length === 0) return session.line(`no crashes of ${name} are known`);
  const rows = all.map(({ instance, since }) => [instance, formatTime(new Date(since * 1000))]);
  for (const line of formatTable(['instance', 'since'], rows)) session.line(line);
}

/** Prints what each cell offers and runs: what placement decides by. */
export async function placement(session: Session): Promise<void> {
  const cells = await session.client.cells();
  if (cells.length === 0) return session.line('no cell advertises itself');
  const rows = cells.map((cell) => [
    cell.id,
    cell.placement_properties.zone,
    cell.stacks.join(', '),
    formatMegabytes(Math.max(0, cell.available_memory)),
    cell.available_disk === null ? '-' : formatMegabytes(Math.max(0, cell.available_disk)),
    String(Object.values(cell.app_id_to_count).reduce((sum, count) => sum + count, 0)),
  ]);
  for (const line of formatTable(['cell', 'zone', 'stacks', 'memory', 'disk', 'instances'], rows)) session.line(line);
}

function runningOf(app: App): string {
  const { running_instances: running, instances, state } = app;
  if (state === 'STOPPED') return `0/${instances}`;
  return `${running === undefined || running < 0 ? '?' : running}/${instances}`;
}

function stagingOf(app: App): string {
  if (app.package_state !== 'FAILED') return app.package_state.toLowerCase();
  return `failed: ${app.staging_failed_description ?? app.staging_failed_reason ?? 'no reason is known'}`;
}

function describe(metadata: Record<string, unknown>): string {
  return Object.entries(metadata)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(', ')
    .replaceAll(/\s+/g, ' ');
}

function printJson(session: Session, value: unknown): void {
  session.line(JSON.stringify(value, null, 2));
}
