/**
 * What runs in the thread of a SQLite database: an fsync stops the thread and nobody else. Being text, it needs no file
 * that a build would have to put somewhere.
 *
 * Integers come out as bigint where the column is a BIGINT or an expression, else as numbers. Rows come as lists, which
 * are cheaper to hand over than objects.
 */
export const sqliteThreadSource = `
  const { parentPort, workerData } = require('node:worker_threads');
  const Sqlite = require(workerData.module);
  const keptStatements = 500;

  function open() {
    try {
      const opened = new Sqlite(workerData.path, { timeout: workerData.busyTimeoutMs });
      opened.pragma('journal_mode = WAL');
      // What was committed survives the loss of power.
      opened.pragma('synchronous = FULL');
      return opened;
    } catch ({ message }) {
      // The library's own errors lose their text on the way to another thread.
      throw new Error(message);
    }
  }

  const database = open();
  const statements = new Map();
  const [begin, commit, rollback] = ['BEGIN IMMEDIATE', 'COMMIT', 'ROLLBACK'].map((sql) => database.prepare(sql));

  function prepare(sql) {
    const known = statements.get(sql);
    if (known) return known;
    const statement = database.prepare(sql);
    const entry = { statement, columns: [], small: [] };
    if (statement.reader) {
      statement.raw(true).safeIntegers(true);
      const columns = statement.columns();
      entry.columns = columns.map(({ name }) => name);
      entry.small = columns.flatMap(({ type }, index) => (type === null || type === 'BIGINT' ? [] : [index]));
    }
    if (statements.size >= keptStatements) statements.delete(statements.keys().next().value);
    statements.set(sql, entry);
    return entry;
  }

  function run({ sql, parameters }) {
    const { statement, columns, small } = prepare(sql);
    if (!statement.reader) return { affected: statement.run(parameters).changes, columns, rows: [] };
    const rows = statement.all(parameters);
    for (const row of rows) {
      for (const index of small) if (typeof row[index] === 'bigint') row[index] = Number(row[index]);
    }
    return { affected: 0, columns, rows };
  }

  function transact({ queries, guard }) {
    begin.run();
    let isCommitting = false;
    try {
      if (guard && run(guard).affected === 0) {
        rollback.run();
        return { isGuardFailed: true };
      }
      const affected = queries.map((query) => run(query).affected);
      isCommitting = true;
      commit.run();
      return { affected };
    } catch (error) {
      if (database.inTransaction) rollback.run();
      throw Object.assign(error, { isCommitting });
    }
  }

  parentPort.on('message', ({ id, kind, work }) => {
    if (kind === 'close') {
      database.close();
      parentPort.close();
      return;
    }
    try {
      parentPort.postMessage({ id, result: kind === 'run' ? run(work) : transact(work) });
    } catch (error) {
      const { message, code = '', isCommitting = false } = error;
      parentPort.postMessage({ id, error: { message, code, isCommitting } });
    }
  });
  parentPort.postMessage({ isReady: true });
`;
