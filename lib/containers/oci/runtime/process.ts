import type { CapabilitySets } from './capabilities.js';

/** `process` of the OCI runtime specification, as far as the engine uses it. */
export interface OciProcess {
  terminal: boolean;
  consoleSize?: { height: number; width: number };
  user: { uid: number; gid: number; additionalGids?: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: CapabilitySets;
  rlimits?: { type: string; soft: number; hard: number }[];
  noNewPrivileges: boolean;
}
