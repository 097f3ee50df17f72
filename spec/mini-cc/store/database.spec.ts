import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AppStore } from '../../../lib/mini-cc/store/app-store.js';
import { NewerSchemaError, openDatabase } from '../../../lib/mini-cc/store/database.js';
import { HandOverStore } from '../../../lib/mini-cc/store/hand-over-store.js';
import { anApp } from '../../support/apps.js';

describe('the database', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mini-cc-database-'));
    path = join(directory, 'mini-cc.db');
  });

  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('of before hand-overs is brought up to date with its apps', () => {
    const old = openDatabase(path);
    const { id: _id, ...app } = anApp({ diego: true });
    new AppStore(old, Date.now).insert(app);
    old.exec('DROP TABLE hand_overs; DROP TABLE tasks');
    old.pragma('user_version = 1');
    old.close();
    const database = openDatabase(path);
    expect(new AppStore(database, Date.now).get(app.guid).diego).to.equal(true);
    expect(new HandOverStore(database, Date.now).list()).to.deep.equal([]);
    database.close();
  });

  it('of a newer program is refused', () => {
    const newer = openDatabase(path);
    newer.pragma('user_version = 99');
    newer.close();
    expect(() => openDatabase(path)).to.throw(NewerSchemaError, 'version 99');
  });

  it('gives each change of an app a later time, also within one moment or with a clock that was set back', () => {
    const database = openDatabase(path);
    let now = 1_435_672_356_000;
    const apps = new AppStore(database, () => now);
    const { id: _id, ...app } = anApp();
    const times = [apps.insert(app).updated_at];
    for (const step of [0, 0, -5000]) {
      now += step;
      times.push(apps.update(app.guid, { instances: 2 }).updated_at);
    }
    expect([...new Set(times)].sort()).to.deep.equal(times);
    database.close();
  });

  it('keeps one hand-over of an app, the newest, until the app is gone', () => {
    const database = openDatabase(path);
    const apps = new AppStore(database, Date.now);
    const store = new HandOverStore(database, Date.now);
    const { id: _id, ...app } = anApp();
    apps.insert(app);
    store.put(app.guid, 'diego', 'v1');
    store.put(app.guid, 'dea', 'v2');
    expect(store.list().map(({ target, version }) => [target, version])).to.deep.equal([['dea', 'v2']]);
    apps.delete(app.guid);
    expect(store.find(app.guid)).to.equal(undefined);
    database.close();
  });
});
