import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BuildpackStore } from '../../../lib/mini-cc/store/buildpack-store.js';
import { type MiniCcDatabase, openDatabase } from '../../../lib/mini-cc/store/database.js';

describe('the order of buildpacks', () => {
  let directory: string;
  let database: MiniCcDatabase;
  let store: BuildpackStore;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'buildpacks-spec-'));
    database = openDatabase(join(directory, 'mini-cc.db'));
    store = new BuildpackStore(database, () => 0);
    for (const name of ['a', 'b', 'c']) store.insert(name);
  });

  afterEach(async () => {
    database.close();
    await rm(directory, { recursive: true, force: true });
  });

  const order = () => store.list().map(({ name, position }) => `${position}${name}`);
  const move = (name: string, position: number) => store.update(store.findByName(name)!.guid, { position });

  it('is that of their making', () => {
    expect(order()).to.deep.equal(['1a', '2b', '3c']);
  });

  it('gives one that comes, or moves, the place that is asked for, and moves the others', () => {
    expect(store.insert('d', 1).position).to.equal(1);
    expect(order()).to.deep.equal(['1d', '2a', '3b', '4c']);
    expect(move('d', 3).position).to.equal(3);
    expect(order()).to.deep.equal(['1a', '2b', '3d', '4c']);
    move('c', 1);
    expect(order()).to.deep.equal(['1c', '2a', '3b', '4d']);
  });

  it('ends with one whose place is beyond the end', () => {
    expect(store.insert('d', 99).position).to.equal(4);
    expect(move('a', 50).position).to.equal(4);
    expect(order()).to.deep.equal(['1b', '2c', '3d', '4a']);
  });

  it('stays when something else changes', () => {
    store.update(store.findByName('b')!.guid, { enabled: false });
    expect(order()).to.deep.equal(['1a', '2b', '3c']);
  });

  it('closes up behind one that goes', () => {
    store.delete(store.findByName('a')!.guid);
    expect(order()).to.deep.equal(['1b', '2c']);
  });
});
