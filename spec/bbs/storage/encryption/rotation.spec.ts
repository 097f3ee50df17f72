import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { expect } from 'chai';
import { ProtoRoutes, TaskDefinition } from '../../../../lib/bbs/messages/models.js';
import { KeyRing, type KeyRingOptions } from '../../../../lib/bbs/storage/encryption/key-ring.js';
import { SqlStore } from '../../../../lib/bbs/storage/sql-store.js';
import { actualLrp, desiredLrp, inserts, RecordedRows, task } from '../../../support/board-rows.js';
import { eventually } from '../../../support/eventually.js';
import { recordingLogger } from '../../../support/recording-logger.js';

const oldKeys = { activeLabel: 'old', passphrases: { old: 'old passphrase' } };
const bothKeys = { activeLabel: 'new', passphrases: { ...oldKeys.passphrases, new: 'new passphrase' } };
const newKeys = { activeLabel: 'new', passphrases: { new: 'new passphrase' } };

/** docs/protocol/bbs.md §15, Key rotation */
describe('rotation of keys', () => {
  let directory: string;
  let path: string;
  let count = 0;
  const stores: SqlStore[] = [];
  const { logger, lines } = recordingLogger();

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'rotation-'));
  });

  beforeEach(() => {
    count += 1;
    path = join(directory, `${count}.db`);
  });

  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.stop()));
    lines.length = 0;
  });

  after(() => rm(directory, { recursive: true, force: true }));

  async function taken(keys: KeyRingOptions): Promise<SqlStore> {
    const store = SqlStore.create({ database: { driver: 'sqlite3', connectionString: path }, keys, logger });
    stores.push(store);
    await store.start();
    await store.take();
    return store;
  }

  function looked<T>(look: (database: Sqlite.Database) => T): T {
    const database = new Sqlite(path);
    try {
      return look(database);
    } finally {
      database.close();
    }
  }

  const storedLabel = () =>
    looked((database) => {
      const row = database.prepare(`SELECT value FROM configurations WHERE id = 'encryption_key_label'`).get();
      return (row as { value: string } | undefined)?.value;
    });
  const rotated = () => eventually(() => storedLabel() === 'new' || undefined, { what: 'the new label' });
  const desired = (index: number) =>
    desiredLrp(`p-${index}`, { routes: ProtoRoutes.create(), volumeMounts: [], annotation: 'x' });

  it('gives a new database the label of the active key', async () => {
    await taken(newKeys);
    expect(storedLabel()).to.equal('new');
  });

  it('encrypts every column of every row with the new key, while the board writes', async () => {
    const before = await taken(oldKeys);
    await before.write([
      ...Array.from({ length: 120 }, (_, index) => inserts.desired(desired(index))),
      ...Array.from({ length: 230 }, (_, index) =>
        inserts.actual(actualLrp('p', index, { metricTags: new Map([['a', 'b']]) })),
      ),
      inserts.task(task('t', { taskDefinition: TaskDefinition.create({ rootFs: 'x' }) })),
    ]);
    await before.stop();
    const store = await taken(bothKeys);
    expect(storedLabel()).to.equal('old');
    const rows = new RecordedRows();
    await store.load(rows);
    await store.write([{ table: 'desired_lrps', before: desired(7), after: { ...desired(7), instances: 9 } }]);
    await rotated();
    expect(rows.counts).to.eql({ desired: 120, actual: 230, tasks: 1, domains: 0 });
    expect(await store.isUntouched()).to.equal(true);
    await store.stop();
    const keys = new KeyRing(newKeys);
    const sealed = looked((database) => {
      const columns = ['run_info', 'routes', 'volume_placement', 'metric_tags'].map(
        (column) => `SELECT ${column} FROM desired_lrps`,
      );
      const more = ['net_info', 'internal_routes', 'metric_tags'].map((column) => `SELECT ${column} FROM actual_lrps`);
      const all = [...columns, ...more, 'SELECT task_definition FROM tasks'].join(' UNION ALL ');
      return database.prepare(all).pluck().all() as string[];
    });
    expect(sealed.length).to.equal(120 * 4 + 230 * 3 + 1);
    expect(new Set(sealed.map((value) => keys.labelOf(value)))).to.eql(new Set(['new']));
    const after = new RecordedRows();
    await (await taken(newKeys)).load(after);
    expect(after.desired.get('p-7')).to.eql({ ...desired(7), instances: 9 });
    expect(after.actual).to.eql(rows.actual);
  });

  it('leaves what cannot be read, and tells the end', async () => {
    const before = await taken(oldKeys);
    await before.write([inserts.actual(actualLrp('bad')), inserts.actual(actualLrp('good'))]);
    await before.stop();
    looked((database) => database.exec(`UPDATE actual_lrps SET net_info = '02spoiled' WHERE process_guid = 'bad'`));
    await taken(bothKeys);
    await rotated();
    const bad = looked((database) =>
      database.prepare(`SELECT net_info FROM actual_lrps WHERE process_guid = 'bad'`).pluck().get(),
    );
    expect(bad).to.equal('02spoiled');
    await eventually(
      () => lines.some(({ message }) => message === 'all rows are encrypted with the active key') || undefined,
    );
    expect(lines.filter(({ level }) => level === 'error').map(({ data }) => data.key)).to.eql(['bad/0/0']);
  });

  it('is begun anew by the next start when it was broken off', async () => {
    const before = await taken(oldKeys);
    await before.write(Array.from({ length: 500 }, (_, index) => inserts.actual(actualLrp('p', index))));
    await before.stop();
    await (await taken(bothKeys)).stop();
    const store = await taken(bothKeys);
    await rotated();
    const rows = new RecordedRows();
    await store.load(rows);
    expect(rows.counts.actual).to.equal(500);
  });

  it('is needed when there are rows, but no label', async () => {
    const before = await taken(oldKeys);
    await before.write([inserts.actual(actualLrp('p'))]);
    await before.stop();
    looked((database) => database.exec(`DELETE FROM configurations WHERE id = 'encryption_key_label'`));
    await taken(bothKeys);
    await rotated();
  });

  it('is refused when the key of the database is not known', async () => {
    await (await taken(oldKeys)).stop();
    const error = await taken(newKeys).catch((error) => error);
    expect(error.message).to.equal('Existing encryption key version (old) is not among the known keys');
  });

  it('is refused when the key has another passphrase than the database', async () => {
    const before = await taken(oldKeys);
    await before.write([inserts.actual(actualLrp('p'))]);
    await before.stop();
    const wrong = { activeLabel: 'old', passphrases: { old: 'another passphrase' } };
    const error = await taken(wrong).catch((error) => error);
    expect(error.message).to.equal(
      'encryption_keys: no row of the database can be read: the encryption key "old" does not open it',
    );
  });
});
