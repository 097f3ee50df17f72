import { formatLocalTime } from '../instances/environment.js';
import type { ComponentAnnouncement } from '../messages.js';

export interface ComponentIdentity {
  index: number;
  /** The agent's id: one on every subject. */
  uuid: string;
  /** `address:port` of the component's own HTTP server. */
  host: string;
  credentials: { user: string; password: string };
  startedAt: Date;
}

/** What the agent tells of itself on `vcap.component.announce` (docs/protocol/dea.md §22.3). */
export function announcement({ index, uuid, host, credentials, startedAt }: ComponentIdentity): ComponentAnnouncement {
  return {
    type: 'DEA',
    index,
    uuid,
    host,
    credentials: [credentials.user, credentials.password],
    start: formatLocalTime(startedAt),
  };
}
