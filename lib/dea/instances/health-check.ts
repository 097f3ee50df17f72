import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { load as parseYaml } from 'js-yaml';
import { readContainerFile } from '../containers.js';

export interface HealthCheckTarget {
  /** Host directory that is the container's root. */
  rootDirectory: string;
  /** The app user's home, as seen in the container. */
  home: string;
  /** Where the app's port answers; undefined for an app without routes. */
  address: { host: string; port: number } | undefined;
  /** Milliseconds that the app may take until it listens. */
  timeoutMs: number;
}

/** Time that an app with a state file may take (docs/protocol/dea.md §11.1). */
const stateFileTimeoutMs = 300_000;
const stateFilePeriodMs = 500;
const longestConnectPauseMs = 500;
/** Node's timers end at once beyond it. */
const longestTimerMs = 2 ** 31 - 1;

/** How long an app without routes must stay alive after its start to count as running (§11.2). */
const settleMs = 250;

/**
 * Waits until a started app is healthy: by its state file, by its port, or, without routes, by its process.
 * @returns false when the time is up
 * @throws the signal's reason when given up
 */
export async function waitUntilHealthy(target: HealthCheckTarget, signal: AbortSignal): Promise<boolean> {
  try {
    return await pollUntilHealthy(target, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

async function pollUntilHealthy(target: HealthCheckTarget, signal: AbortSignal): Promise<boolean> {
  const stateFile = await declaredStateFile(target);
  if (stateFile) return pollStateFile(target, stateFile, signal);
  if (target.address) return pollPort(target.address, target.timeoutMs, signal);
  return waitUntilSettled(target, signal);
}

/** `state_file` of `droplet.yaml`, which only old droplets have. */
async function declaredStateFile(target: HealthCheckTarget): Promise<string | undefined> {
  const text = await readInContainer(target, 'droplet.yaml');
  if (text === undefined) return undefined;
  try {
    const manifest = parseYaml(text);
    const name = (manifest as { state_file?: unknown } | null)?.state_file;
    return typeof name === 'string' ? name : undefined;
  } catch {
    return undefined;
  }
}

async function pollStateFile(target: HealthCheckTarget, name: string, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + stateFileTimeoutMs;
  while (performance.now() < deadline) {
    if (isRunning(await readInContainer(target, name))) return true;
    await delay(stateFilePeriodMs, undefined, { signal });
  }
  return false;
}

function isRunning(text: string | undefined): boolean {
  try {
    return text !== undefined && (JSON.parse(text) as { state?: unknown } | null)?.state === 'RUNNING';
  } catch {
    return false;
  }
}

/** Short pauses at first: most apps listen within milliseconds, and a route should not wait longer than they do. */
async function pollPort(address: { host: string; port: number }, timeoutMs: number, signal: AbortSignal) {
  const deadline = performance.now() + timeoutMs;
  let pauseMs = 10;
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return false;
    if (await accepts(address, leftMs, signal)) return true;
    await delay(Math.min(pauseMs, Math.max(deadline - performance.now(), 0)), undefined, { signal });
    pauseMs = Math.min(pauseMs * 1.5, longestConnectPauseMs);
  }
}

/** Whether a port takes a connection within the time given. */
export function accepts(
  address: { host: string; port: number },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.setTimeout(Math.min(Math.max(timeoutMs, 1), longestTimerMs));
    const finish = (isAccepted: boolean) => {
      // The socket's own `signal` option would leave a listener behind for each of many tries.
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(isAccepted);
    };
    const onAbort = () => finish(false);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
    socket.once('timeout', () => finish(false));
  });
}

/** The start script writes `run.pid` right before it becomes the app; from then on the app must stay alive. */
async function waitUntilSettled(target: HealthCheckTarget, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + target.timeoutMs;
  while ((await readInContainer(target, 'run.pid')) === undefined) {
    if (performance.now() > deadline) return false;
    await delay(20, undefined, { signal });
  }
  await delay(settleMs, undefined, { signal });
  return true;
}

/** Undefined, too, for what may not be read: the app may have put anything there. */
function readInContainer(target: HealthCheckTarget, name: string): Promise<string | undefined> {
  return readContainerFile(target.rootDirectory, join(target.home, name)).catch(() => undefined);
}
