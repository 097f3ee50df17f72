import { type App, backendOf, isRunnable } from '../apps/app.js';
import type { HandOver } from '../store/hand-over-store.js';

/**
 * What becomes of a hand-over: the side that is left may stop (`complete`), it has to go on (`wait`), or there is nothing
 * to wait for any more, because the app is gone, stopped, or back (`drop`).
 */
export type HandOverStep = 'complete' | 'wait' | 'drop';

/**
 * @param running indices that the target is known to run in the app's current version; undefined when it cannot be said
 */
export function nextStep(
  handOver: HandOver,
  app: App | undefined,
  running: ReadonlySet<number> | undefined,
): HandOverStep {
  if (!isPending(handOver, app)) return 'drop';
  return isRunnable(app) && runsAll(app, running) ? 'complete' : 'wait';
}

/** Whether the app is still on its way to the hand-over's target. Pure. */
export function isPending(handOver: HandOver, app: App | undefined): app is App {
  return app !== undefined && app.state === 'STARTED' && backendOf(app) === handOver.target;
}

/** Whether cells still have to run the app's instances in this version, because Diego does not yet. Pure. */
export function isKeptOnCells(app: App, handOver: HandOver | undefined, version: string): boolean {
  if (handOver?.target !== 'diego' || !isPending(handOver, app)) return false;
  return version === handOver.version || version === app.version;
}

function runsAll({ instances }: App, running: ReadonlySet<number> | undefined): boolean {
  if (!running) return false;
  return Array.from({ length: instances }, (_unused, index) => index).every((index) => running.has(index));
}
