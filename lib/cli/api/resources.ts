/** What the client API gives and takes, as far as the command line reads it. MB, seconds since 1970. */
export interface App {
  guid: string;
  name: string;
  version: string;
  state: 'STARTED' | 'STOPPED';
  package_state: 'PENDING' | 'STAGED' | 'FAILED';
  instances: number;
  /** -1 when not known. */
  running_instances?: number;
  memory: number;
  disk_quota: number;
  stack: string;
  buildpack: string | null;
  command: string | null;
  env: Record<string, unknown>;
  routes: string[];
  /** Whether Diego runs it. */
  diego: boolean;
  health_check_type: 'port' | 'none';
  health_check_timeout: number | null;
  detected_buildpack: string | null;
  detected_start_command: string | null;
  staging_failed_reason: string | null;
  staging_failed_description: string | null;
  created_at: string;
  updated_at: string;
}

export interface AppChange {
  name?: string;
  state?: 'STARTED' | 'STOPPED';
  instances?: number;
  memory?: number;
  disk_quota?: number;
  stack?: string;
  buildpack?: string | null;
  command?: string | null;
  env?: Record<string, unknown>;
  routes?: string[];
  diego?: boolean;
  health_check_type?: 'port' | 'none';
  health_check_timeout?: number;
}

export interface Info {
  name: string;
  api_version: string;
  domain: string;
  router: string | null;
}

/** What runs an app: cells of the DEA kind, or Diego. */
export type Backend = 'dea' | 'diego';

/** An app between two sides: where it goes to, null when it is there, and what each side has of it. */
export interface HandOver {
  diego: boolean;
  target: Backend | null;
  /** Null where that cannot be said. */
  instances: Record<Backend, number | null>;
}

export interface InstanceEntry {
  state: string;
  /** Not of an instance on Diego that nobody tells of. */
  since?: number;
  details?: string;
  exit_status?: number | null;
}

export interface StatsEntry {
  state: string;
  since?: number;
  stats?: {
    host?: string;
    port?: number;
    uptime?: number;
    mem_quota?: number;
    disk_quota?: number;
    usage?: { cpu?: number; mem?: number; disk?: number };
  };
}

export interface StagingStatus {
  package_state: App['package_state'];
  staging_task_id: string | null;
  staging_failed_reason: string | null;
  staging_failed_description: string | null;
  detected_buildpack: string | null;
}

export interface AppEvent {
  type: string;
  timestamp: string;
  metadata: Record<string, unknown>;
}

/** What an app's processes find in their environment, by where it comes from. */
export interface AppEnvironment {
  staging_env_json: Record<string, unknown>;
  running_env_json: Record<string, unknown>;
  environment_json: Record<string, unknown>;
  /** `VCAP_SERVICES`. */
  system_env_json: Record<string, unknown>;
  /** `VCAP_APPLICATION`. */
  application_env_json: Record<string, unknown>;
}

/** A crashed instance; `since` in seconds. */
export interface Crash {
  instance: string;
  since: number;
}

/** One line of an app's log. */
export interface LogLine {
  /** ISO 8601. */
  timestamp: string;
  type: 'OUT' | 'ERR';
  /** `App`, `STG`, `DEA`, `API`. */
  source_type: string;
  source_instance: string;
  message: string;
}

/** A cell as it advertises itself; MB. */
export interface Cell {
  id: string;
  stacks: string[];
  available_memory: number;
  /** Null: as much as is wanted. */
  available_disk: number | null;
  app_id_to_count: Record<string, number>;
  placement_properties: { zone: string };
}

export interface Buildpack {
  guid: string;
  name: string;
  /** Detection order, from 1. */
  position: number;
  enabled: boolean;
  /** Null before the first upload. */
  filename: string | null;
}

export interface BuildpackChange {
  position?: number;
  enabled?: boolean;
}
