import type { DesiredLRP } from '../../messages/models.js';
import { fullForm } from '../desired-lrps/read-forms.js';
import type { DesiredEvent } from './event.js';

/** What both LRP streams tell of one desired LRP (docs/protocol/bbs.md §11.2). */
export function desiredEvents(
  { before, after }: { before: DesiredLRP | undefined; after: DesiredLRP | undefined },
  traceId: string,
): DesiredEvent[] {
  const shown = { before: before && fullForm(before), after: after && fullForm(after) };
  if (!after) return before ? [{ name: 'desired_lrp_removed', message: { desiredLrp: shown.before, traceId } }] : [];
  if (!before) return [{ name: 'desired_lrp_created', message: { desiredLrp: shown.after, traceId } }];
  return [{ name: 'desired_lrp_changed', message: { ...shown, traceId } }];
}
