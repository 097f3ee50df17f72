import type { DesiredLRP } from '../../messages/models.js';
import { internalRoutesOnly } from './routes.js';

/** What decisions about instances need of a desired LRP; the large rest may lie encoded. */
export type DesiredOutline = Pick<
  DesiredLRP,
  'processGuid' | 'domain' | 'instances' | 'updateStrategy' | 'routes' | 'metricTags'
>;

/** Of the routes, the internal ones only. */
export function outlineOf(desired: DesiredOutline): DesiredOutline {
  const { processGuid, domain, instances, updateStrategy, routes, metricTags } = desired;
  return { processGuid, domain, instances, updateStrategy, routes: internalRoutesOnly(routes), metricTags };
}
