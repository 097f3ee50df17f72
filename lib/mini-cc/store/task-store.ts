import { ApiError } from '../errors.js';
import type { Task } from '../tasks/task.js';
import type { MiniCcDatabase } from './database.js';

type Row = Omit<Task, 'environment_variables'> & { environment_variables: string };
type InsertedTask = Omit<Task, 'id' | 'sequence_id' | 'failure_reason' | 'created_at' | 'updated_at'>;

/** Tasks in the database. */
export class TaskStore {
  constructor(
    private readonly database: MiniCcDatabase,
    private readonly now: () => number,
  ) {}

  insert(task: InsertedTask): Task {
    const time = this.timestamp();
    this.database
      .prepare(
        `INSERT INTO tasks (guid, app_guid, sequence_id, name, command, state, memory_in_mb, disk_in_mb,
           environment_variables, created_at, updated_at)
         VALUES (@guid, @app_guid,
           (SELECT coalesce(max(sequence_id), 0) + 1 FROM tasks WHERE app_guid = @app_guid),
           @name, @command, @state, @memory_in_mb, @disk_in_mb, @environment_variables, @time, @time)`,
      )
      .run({ ...task, environment_variables: JSON.stringify(task.environment_variables), time });
    return this.get(task.guid);
  }

  find(guid: string): Task | undefined {
    const row = this.database.prepare<[string], Row>('SELECT * FROM tasks WHERE guid = ?').get(guid);
    return row && fromRow(row);
  }

  /** @throws ApiError ResourceNotFound */
  get(guid: string): Task {
    const task = this.find(guid);
    if (!task) throw new ApiError('ResourceNotFound', 'Task not found');
    return task;
  }

  /** Those of an app, in the order they were made. */
  listOfApp(appGuid: string): Task[] {
    const query = 'SELECT * FROM tasks WHERE app_guid = ? ORDER BY id';
    return this.database.prepare<[string], Row>(query).all(appGuid).map(fromRow);
  }

  /** All, in the order they were made: up to `limit` of those whose sequence number is larger. */
  list(afterId: number, limit: number): Task[] {
    const query = 'SELECT * FROM tasks WHERE id > ? ORDER BY id LIMIT ?';
    return this.database.prepare<[number, number], Row>(query).all(afterId, limit).map(fromRow);
  }

  /** @throws ApiError ResourceNotFound */
  update(
    guid: string,
    { state, failure_reason = null }: Pick<Task, 'state'> & Partial<Pick<Task, 'failure_reason'>>,
  ): Task {
    this.database
      .prepare('UPDATE tasks SET state = ?, failure_reason = ?, updated_at = ? WHERE guid = ?')
      .run(state, failure_reason, this.timestamp(), guid);
    return this.get(guid);
  }

  private timestamp(): string {
    return new Date(this.now()).toISOString();
  }
}

function fromRow(row: Row): Task {
  return { ...row, environment_variables: JSON.parse(row.environment_variables) as Task['environment_variables'] };
}
