import { setTimeout as delay } from 'node:timers/promises';
import type { StartedApp } from './api/client.js';
import type { App, InstanceEntry } from './api/resources.js';
import { CliError } from './cli-error.js';
import { showInstances } from './instance-table.js';
import { routedRequest } from './routed-request.js';
import type { Session } from './session.js';
import { followStagingLog } from './staging-log.js';

const pollMs = 250;
/** The log's last bytes may come after the staging is known to be over; servers flush them within 50 ms. */
const logGraceMs = 500;
/** All instances must have been seen to run or crash by then. */
const startLimitMs = 300_000;
/** Routers hear of an instance when it runs; by then the address must answer. */
const routeLimitMs = 15_000;

/**
 * Watches an app that has just been started: its staging's output while it runs, then its instances until all run,
 * then its addresses until they answer.
 *
 * @throws CliError with the staging's error or the crash's reason
 */
export async function launch(session: Session, started: StartedApp): Promise<void> {
  const { app, stagingLogUrl } = started;
  if (stagingLogUrl !== undefined) await watchStaging(session, app, stagingLogUrl);
  await requireStaged(session, app);
  if (app.instances > 0) {
    const instances = await watchInstances(session, app);
    session.line();
    showInstances(session, instances);
  }
  session.line();
  await showAddresses(session, app);
}

async function watchStaging(session: Session, app: App, url: string): Promise<void> {
  const { terminal, router, client } = session;
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, terminal.signal]);
  const log = followStagingLog({ url, router, signal, write: (chunk) => terminal.out(chunk) });
  try {
    while ((await client.staging(app.guid)).package_state === 'PENDING') await pause(session, pollMs);
    const grace = delay(logGraceMs, undefined, { signal }).catch(() => {});
    await Promise.race([log, grace]);
  } finally {
    ended.abort();
    await log;
  }
}

async function requireStaged(session: Session, app: App): Promise<void> {
  const status = await session.client.staging(app.guid);
  if (status.package_state === 'STAGED') return;
  if (status.package_state === 'PENDING')
    throw new CliError(`${app.name} is not staged: the app was changed meanwhile`);
  const { staging_failed_reason: reason, staging_failed_description: description } = status;
  throw new CliError(`staging ${app.name} failed: ${description ?? 'no reason is known'} (${reason})\n${hint(app)}`);
}

async function watchInstances(session: Session, app: App): Promise<Record<string, InstanceEntry>> {
  const { client, line } = session;
  const deadline = performance.now() + startLimitMs;
  let shown = '';
  for (;;) {
    const instances = await client.instances(app.guid);
    const entries = Object.values(instances);
    const summary = summarize(entries);
    if (summary !== shown) line(summary);
    shown = summary;
    if (entries.every(({ state }) => state === 'RUNNING')) return instances;
    await refuseFailedStart(session, app, instances);
    if (performance.now() > deadline) {
      showInstances(session, instances);
      throw new CliError(`${app.name} did not start within ${startLimitMs / 1000} seconds`);
    }
    await pause(session, pollMs);
  }
}

/** Whether a crashed instance comes back is for the health manager to say; who starts an app wants to know at once. */
async function refuseFailedStart(session: Session, app: App, instances: Record<string, InstanceEntry>): Promise<void> {
  const entries = Object.entries(instances);
  const isCrashed = (state: string) => state === 'CRASHED' || state === 'FLAPPING';
  const crashed = entries.find(([, { state }]) => isCrashed(state));
  if (crashed && entries.every(([, { state }]) => state === 'RUNNING' || isCrashed(state))) {
    const [index, { details = 'no reason is known', exit_status: status }] = crashed;
    const exit = typeof status === 'number' ? `, exit status ${status}` : '';
    session.line();
    showInstances(session, instances);
    throw new CliError(`instance ${index} of ${app.name} crashed: ${details}${exit}\n${hint(app)}`);
  }
  if (!entries.some(([, { state }]) => state === 'DOWN')) return;
  const failure = (await session.client.events(app.guid)).find(
    ({ type, timestamp }) => type === 'app.start-failed' && timestamp >= app.updated_at,
  );
  if (failure) throw new CliError(`${app.name} could not be started: ${String(failure.metadata.description)}`);
}

/** What a buildpack or an app has said itself is not among what the Cloud Controller knows. */
function hint({ name }: App): string {
  return `(isthmus logs ${name} --recent tells more)`;
}

/** `1 of 3 instances running, 2 starting`. */
function summarize(entries: InstanceEntry[]): string {
  const count = (wanted: string) => entries.filter(({ state }) => state === wanted).length;
  const others = ['STARTING', 'CRASHED', 'FLAPPING', 'DOWN'].filter((state) => count(state) > 0);
  return [
    `${count('RUNNING')} of ${entries.length} ${entries.length === 1 ? 'instance' : 'instances'} running`,
    ...others.map((state) => `${count(state)} ${state.toLowerCase()}`),
  ].join(', ');
}

/** Prints the app's addresses when they answer through the router. */
async function showAddresses(session: Session, app: App): Promise<void> {
  const { line, router } = session;
  if (app.routes.length === 0) return line(`${app.name} runs; it has no route.`);
  for (const route of app.routes) {
    const address = appAddress(route, router);
    if (app.instances === 0 || router === undefined) line(address);
    else if (await answers(session, address)) line(`${app.name} answers at ${address}`);
    else throw new CliError(`${app.name} runs, but does not answer at ${address}`);
  }
}

/** `http://hello.localhost:8080` for a route and the router that leads to it. */
export function appAddress(route: string, router: string | undefined): string {
  const [, host = route, path = ''] = /^([^/]*)(\/.*)?$/.exec(route) ?? [];
  const port = router === undefined ? '' : new URL(router).port;
  return `http://${host}${port && `:${port}`}${path}`;
}

async function answers(session: Session, address: string): Promise<boolean> {
  const { router, terminal } = session;
  const deadline = performance.now() + routeLimitMs;
  do {
    try {
      const response = await routedRequest({ url: new URL(address), router, signal: terminal.signal });
      response.destroy();
      if (response.headers['x-cf-routererror'] === undefined) return true;
    } catch {
      terminal.signal.throwIfAborted();
    }
    await pause(session, pollMs);
  } while (performance.now() < deadline);
  return false;
}

async function pause(session: Session, ms: number): Promise<void> {
  await delay(ms, undefined, { signal: session.terminal.signal });
}
