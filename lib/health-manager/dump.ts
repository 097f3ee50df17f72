import { type Freshness, NotFreshError } from './decisions/freshness.js';
import { goDuration } from './go-duration.js';
import type { AppState, PendingMessage } from './records.js';
import type { HealthStore } from './store/health-store.js';

/**
 * Everything that a store knows, for the eyes of an operator, in upstream's form
 * (docs/protocol/health-manager.md §11).
 */
export async function dump(store: HealthStore): Promise<string> {
  const now = await store.now();
  const apps: AppState[] = [];
  await store.forEachApp((app) => void apps.push(app));
  apps.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const lines = [
    `Dump - Current timestamp ${now}`,
    freshnessLine(await store.freshness()),
    '='.repeat(20),
    ...apps.flatMap((app) => ['', ...describeApp(app, now)]),
  ];
  return `${lines.join('\n')}\n`;
}

function keyOf({ app, version }: AppState): string {
  return `${app},${version}`;
}

function freshnessLine(freshness: Freshness): string {
  if (freshness.isActualFresh && freshness.isDesiredFresh) return 'Store is fresh';
  return `STORE IS NOT FRESH: ${new NotFreshError(freshness).message}`;
}

function describeApp({ app, version, desired, instances, ...rest }: AppState, now: number): string[] {
  const heartbeats = [...instances.values()].map(
    ({ index, state, instance, dea }) => `    [${index} ${state}] ${instance} on ${dea.slice(0, 5)}`,
  );
  const crashes = [...rest.crashCounts.values()].map(({ index, crashCount }) => `[${index}]:${crashCount}`);
  const starts = [...rest.pendingStarts.values()].map((start) => {
    const verification = start.skipVerification ? ' NO VERIFICATION' : '';
    return `    [${start.index}] priority:${start.priority.toFixed(2)}${verification} ${schedule(start, now)}`;
  });
  const stops = [...rest.pendingStops.values()].map((stop) => `    ${stop.instance} ${schedule(stop, now)}`);
  return [
    `Guid: ${app} | Version: ${version}`,
    desired ? `  Desired: [${desired.instances}] instances, (STARTED, ${desired.packageState})` : '  Desired: NO',
    ...(heartbeats.length > 0 ? ['  Heartbeats:', ...heartbeats] : ['  Heartbeats: NONE']),
    ...(crashes.length > 0 ? [`  CrashCounts: ${crashes.join(' ')}`] : []),
    ...(starts.length > 0 ? ['  Pending Starts:', ...starts] : []),
    ...(stops.length > 0 ? ['  Pending Stops:', ...stops] : []),
  ];
}

function schedule({ sentOn, sendOn, keepAlive }: PendingMessage, now: number): string {
  return sentOn === 0 ? `send:${goDuration(sendOn - now)}` : `send:SENT delete:${goDuration(sentOn + keepAlive - now)}`;
}
