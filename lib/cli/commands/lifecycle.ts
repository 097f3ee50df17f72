import { CliError } from '../cli-error.js';
import { launch } from '../launch.js';
import type { Session } from '../session.js';

/** Starts an app and watches it until it answers. */
export async function start(session: Session, name: string): Promise<void> {
  const app = await session.client.getApp(name);
  if (app.state === 'STARTED')
    return session.line(`${name} is already started; to start it anew: isthmus restart ${name}`);
  session.line(`Starting ${name}`);
  await launch(session, await session.client.updateApp(app.guid, { state: 'STARTED' }));
}

export async function stop(session: Session, name: string): Promise<void> {
  const app = await session.client.getApp(name);
  await session.client.updateApp(app.guid, { state: 'STOPPED' });
  session.line(`${name} is stopped`);
}

export async function restart(session: Session, name: string): Promise<void> {
  const app = await session.client.getApp(name);
  await session.client.updateApp(app.guid, { state: 'STOPPED' });
  session.line(`Restarting ${name}`);
  await launch(session, await session.client.updateApp(app.guid, { state: 'STARTED' }));
}

/** Makes a new droplet of the app's files and starts it. */
export async function restage(session: Session, name: string): Promise<void> {
  const app = await session.client.getApp(name);
  session.line(`Restaging ${name}`);
  await launch(session, await session.client.restageApp(app.guid));
}

export interface ScaleOptions {
  instances?: number;
  memory?: number;
  disk?: number;
}

/** Changes the number of instances at once; more or less memory or disk takes a restart. */
export async function scale(session: Session, name: string, { instances, memory, disk }: ScaleOptions): Promise<void> {
  if (instances === undefined && memory === undefined && disk === undefined) {
    throw new CliError('give -i, -m or -k');
  }
  const app = await session.client.getApp(name);
  const needsRestart =
    app.state === 'STARTED' && ((memory ?? app.memory) !== app.memory || (disk ?? app.disk_quota) !== app.disk_quota);
  if (needsRestart) await session.client.updateApp(app.guid, { state: 'STOPPED' });
  const change = {
    ...(instances !== undefined && { instances }),
    ...(memory !== undefined && { memory }),
    ...(disk !== undefined && { disk_quota: disk }),
    ...(needsRestart && { state: 'STARTED' as const }),
  };
  session.line(`Scaling ${name}`);
  const scaled = await session.client.updateApp(app.guid, change);
  if (scaled.app.state === 'STARTED') await launch(session, scaled);
}

/** Removes an app with all that belongs to it; only with `isForced`, as there is no way back. */
export async function deleteApp(session: Session, name: string, isForced: boolean): Promise<void> {
  const app = await session.client.getApp(name);
  if (!isForced) throw new CliError(`this removes ${name} for good; say so with -f`);
  await session.client.deleteApp(app.guid);
  session.line(`${name} is deleted`);
}

/** Gives an app another name; its routes stay. */
export async function rename(session: Session, name: string, newName: string): Promise<void> {
  const app = await session.client.getApp(name);
  await session.client.updateApp(app.guid, { name: newName });
  session.line(`${name} is now ${newName}`);
}

/** Stops one instance; a health manager has another one started in its place. */
export async function kill(session: Session, name: string, index: number): Promise<void> {
  const app = await session.client.getApp(name);
  await session.client.stopInstance(app.guid, index);
  session.line(`instance ${index} of ${name} is stopped; the health manager replaces it`);
}
