import type { ConnectionFlags } from './flags.js';

/** What every word is given. */
export interface SessionFlags extends ConnectionFlags {
  /** JSON, whatever reads it. */
  json?: boolean;
}
