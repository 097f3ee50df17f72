import type { PendingMessage, PendingStart } from '../records.js';

/** Whether the order waits for nothing but being sent (docs/protocol/health-manager.md §3.3). */
export function isDue({ sentOn, sendOn }: PendingMessage, now: number): boolean {
  return sentOn === 0 && sendOn <= now;
}

/** Whether the order was sent, and others of its key need not be kept away any more. */
export function isExpired({ sentOn, keepAlive }: PendingMessage, now: number): boolean {
  return sentOn !== 0 && sentOn + keepAlive <= now;
}

/**
 * Whether the order has times that no order has: the clock was set back since, and it would keep others of its key away
 * until that time comes again.
 *
 * @param longestDelay seconds that an order may have to wait
 */
export function isOutOfTime({ sendOn, sentOn, keepAlive }: PendingMessage, now: number, longestDelay: number): boolean {
  return sendOn > now + longestDelay || sentOn > now + keepAlive;
}

/**
 * Starts in the order in which they go out: the longest waiting first, of one second the most important first, of one
 * importance each app in turn, so that no app uses up the limit alone (docs/protocol/health-manager.md §6.3 rule 2,
 * §14).
 */
export function inSendingOrder(starts: Iterable<PendingStart>): PendingStart[] {
  const sorted = [...starts].sort((a, b) => a.sendOn - b.sendOn || b.priority - a.priority || a.index - b.index);
  const result: PendingStart[] = [];
  for (let from = 0; from < sorted.length; ) {
    let to = from + 1;
    while (to < sorted.length && isLevel(sorted[from]!, sorted[to]!)) to += 1;
    result.push(...inTurn(sorted.slice(from, to)));
    from = to;
  }
  return result;
}

function isLevel(a: PendingStart, b: PendingStart): boolean {
  return a.sendOn === b.sendOn && a.priority === b.priority;
}

/** The first of each app, then the second of each, and so on. */
function inTurn(starts: PendingStart[]): PendingStart[] {
  if (starts.length < 3) return starts;
  const turns = new Map<string, number>();
  const placed = starts.map((start) => {
    const turn = turns.get(start.app) ?? 0;
    turns.set(start.app, turn + 1);
    return { start, turn };
  });
  return placed.sort((a, b) => a.turn - b.turn).map(({ start }) => start);
}
