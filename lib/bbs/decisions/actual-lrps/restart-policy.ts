import { nanosecondsPerSecond } from '../moment.js';

/** docs/protocol/bbs.md §7.3 */
const immediateRestarts = 3;
const maximumRestarts = 200;
const baseSeconds = 30;
const maximumSeconds = 960;
/** So many doublings reach the maximum. */
const doublings = 5;
const resetAfterNs = 300n * nanosecondsPerSecond;

/** Whether an instance that has crashed so often is to be started again by now. @param since of the crash, ns */
export function isRestartDue(crashCount: number, since: bigint, now: bigint): boolean {
  const wait = restartWaitSeconds(crashCount);
  return wait !== undefined && since + BigInt(wait) * nanosecondsPerSecond <= now;
}

export function isRestartedAtOnce(crashCount: number): boolean {
  return crashCount < immediateRestarts;
}

/** @returns undefined where it is not restarted until somebody updates it */
export function restartWaitSeconds(crashCount: number): number | undefined {
  if (isRestartedAtOnce(crashCount)) return 0;
  if (crashCount >= maximumRestarts) return undefined;
  return Math.min(baseSeconds * 2 ** Math.min(crashCount - immediateRestarts, doublings), maximumSeconds);
}

/** The count after one more crash: an instance that ran for long begins again. */
export function nextCrashCount(crash: { crashCount: number; wasRunning: boolean; since: bigint; now: bigint }): number {
  return crash.wasRunning && crash.now - crash.since > resetAfterNs ? 1 : crash.crashCount + 1;
}
