import { randomBytes, randomUUID } from 'node:crypto';
import type { DeaConfig } from './config.js';

/**
 * A new id for an agent that starts (docs/protocol/dea.md §1.2, §22.1): while it registers as a component, its
 * component's number, which then stands on every subject; else a UUID.
 */
export function newAgentId({ index, legacy_protocols }: Pick<DeaConfig, 'index' | 'legacy_protocols'>): string {
  return legacy_protocols.includes('vcap.component') ? `${index}-${randomBytes(16).toString('hex')}` : randomUUID();
}
