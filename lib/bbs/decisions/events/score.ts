import { states } from '../actual-lrps/rows.js';
import type { GroupEvent, InstanceEvent } from './event.js';

/**
 * The events of one call in the order in which they are told: crashes, then what leaves an instance running, then the
 * rest, so that routes never vanish before their replacements are known (docs/protocol/bbs.md §11.3).
 */
export function inToldOrder<T extends InstanceEvent | GroupEvent>(events: readonly T[]): T[] {
  return [...events].sort((a, b) => score(b) - score(a));
}

function score(event: InstanceEvent | GroupEvent): number {
  if (event.name === 'actual_lrp_crashed') return 2;
  return stateAfter(event) === states.running ? 1 : 0;
}

function stateAfter(event: InstanceEvent | GroupEvent): string | undefined {
  switch (event.name) {
    case 'actual_lrp_instance_created':
      return event.message.actualLrp?.state;
    case 'actual_lrp_instance_changed':
      return event.message.after?.state;
    case 'actual_lrp_created':
      return (event.message.actualLrpGroup?.instance ?? event.message.actualLrpGroup?.evacuating)?.state;
    case 'actual_lrp_changed':
      return (event.message.after?.instance ?? event.message.after?.evacuating)?.state;
    default:
      return undefined;
  }
}
