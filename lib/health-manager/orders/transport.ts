import type { StopVerdict } from '../decisions/verification.js';
import type { PendingStart, PendingStop } from '../records.js';

/** `hm9000.start`, in the order in which upstream writes its keys (docs/protocol/health-manager.md §6.4). */
export interface StartOrder {
  message_id: string;
  droplet: string;
  version: string;
  instance_index: number;
}

/** `hm9000.stop`. */
export interface StopOrder {
  message_id: string;
  droplet: string;
  version: string;
  instance_guid: string;
  instance_index: number;
  is_duplicate: boolean;
}

/** Brings orders to the Cloud Controller. Both methods reject with the reason when it did not take the order. */
export interface OrderTransport {
  start(order: StartOrder): Promise<void>;
  stop(order: StopOrder): Promise<void>;
}

export function startOrder({ messageId, app, version, index }: PendingStart): StartOrder {
  return { message_id: messageId, droplet: app, version, instance_index: index };
}

export function stopOrder({ messageId, app, version, instance }: PendingStop, verdict: StopVerdict): StopOrder {
  return {
    message_id: messageId,
    droplet: app,
    version,
    instance_guid: instance,
    instance_index: verdict.index,
    is_duplicate: verdict.isDuplicate,
  };
}
