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
  buildpack?: string | null;
  command?: string | null;
  env?: Record<string, string>;
  routes?: string[];
}

export interface Info {
  name: string;
  api_version: string;
  domain: string;
  router: string | null;
}

export interface InstanceEntry {
  state: string;
  since: number;
  details?: string;
  exit_status?: number | null;
}

export interface StatsEntry {
  state: string;
  since: number;
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
