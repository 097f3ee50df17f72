/** Columns of the board's tables as queries see them (docs/protocol/bbs.md §15). Unused columns are left out. */
export interface BoardTables {
  configurations: ConfigurationRow;
  domains: DomainRow;
  desired_lrps: DesiredLrpRow;
  actual_lrps: ActualLrpRow;
  tasks: TaskRow;
  bbs_health_check: HealthCheckRow;
}

/** The tables that hold what the board is about. */
export type RowTable = 'domains' | 'desired_lrps' | 'actual_lrps' | 'tasks';

/** PostgreSQL has booleans, the others 0 and 1. */
export type Truth = boolean | number;

export interface ConfigurationRow {
  id: string;
  value: string | null;
}

export interface DomainRow {
  domain: string;
  expire_time: bigint | null;
}

export interface DesiredLrpRow {
  process_guid: string;
  domain: string;
  log_guid: string;
  annotation: string | null;
  instances: number;
  memory_mb: number;
  disk_mb: number;
  rootfs: string;
  routes: string;
  volume_placement: string;
  modification_tag_epoch: string;
  modification_tag_index: number | null;
  run_info: string;
  placement_tags: string | null;
  max_pids: number | null;
  metric_tags: string | null;
  update_strategy: number;
}

export interface ActualLrpRow {
  process_guid: string;
  instance_index: number;
  presence: number;
  domain: string;
  state: string;
  instance_guid: string;
  cell_id: string;
  placement_error: string;
  since: bigint | null;
  net_info: string;
  modification_tag_epoch: string;
  modification_tag_index: number | null;
  crash_count: number;
  crash_reason: string;
  internal_routes: string | null;
  metric_tags: string | null;
  routable: Truth | null;
  availability_zone: string;
}

export interface TaskRow {
  guid: string;
  domain: string;
  updated_at: bigint | null;
  created_at: bigint | null;
  first_completed_at: bigint | null;
  state: number | null;
  cell_id: string;
  result: string | null;
  failed: Truth | null;
  failure_reason: string;
  task_definition: string;
  rejection_count: number;
  rejection_reason: string;
}

export interface HealthCheckRow {
  id: number;
  time: bigint;
}

interface Shape<Row> {
  /** All that is written. */
  readonly columns: readonly (keyof Row & string)[];
  readonly key: readonly (keyof Row & string)[];
  /** Of the key, the columns of text. */
  readonly textKey: readonly (keyof Row & string)[];
  /** Encrypted, for as far as they are not NULL. */
  readonly encrypted: readonly (keyof Row & string)[];
}

type Shapes = { readonly [Table in RowTable]: Shape<BoardTables[Table]> };

/** What statements are built from. */
export const shapes: Shapes = {
  domains: { columns: ['domain', 'expire_time'], key: ['domain'], textKey: ['domain'], encrypted: [] },
  desired_lrps: {
    columns: [
      'process_guid',
      'domain',
      'log_guid',
      'annotation',
      'instances',
      'memory_mb',
      'disk_mb',
      'rootfs',
      'routes',
      'volume_placement',
      'modification_tag_epoch',
      'modification_tag_index',
      'run_info',
      'placement_tags',
      'max_pids',
      'metric_tags',
      'update_strategy',
    ],
    key: ['process_guid'],
    textKey: ['process_guid'],
    encrypted: ['routes', 'volume_placement', 'run_info', 'metric_tags'],
  },
  actual_lrps: {
    columns: [
      'process_guid',
      'instance_index',
      'presence',
      'domain',
      'state',
      'instance_guid',
      'cell_id',
      'placement_error',
      'since',
      'net_info',
      'modification_tag_epoch',
      'modification_tag_index',
      'crash_count',
      'crash_reason',
      'internal_routes',
      'metric_tags',
      'routable',
      'availability_zone',
    ],
    key: ['process_guid', 'instance_index', 'presence'],
    textKey: ['process_guid'],
    encrypted: ['net_info', 'internal_routes', 'metric_tags'],
  },
  tasks: {
    columns: [
      'guid',
      'domain',
      'updated_at',
      'created_at',
      'first_completed_at',
      'state',
      'cell_id',
      'result',
      'failed',
      'failure_reason',
      'task_definition',
      'rejection_count',
      'rejection_reason',
    ],
    key: ['guid'],
    textKey: ['guid'],
    encrypted: ['task_definition'],
  },
};

export const rowTables: readonly RowTable[] = ['domains', 'desired_lrps', 'actual_lrps', 'tasks'];
