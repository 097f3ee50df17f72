import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadManifest } from '../../../lib/cli/manifest/load.js';
import { rejectionOf } from '../../support/rejection.js';

describe('finding a manifest', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'manifest-'));
    await mkdir(join(directory, 'sub'));
  });

  afterEach(() => rm(directory, { recursive: true }));

  const write = (path: string, text: string) => writeFile(join(directory, path), text);
  const load = (wish?: string) => loadManifest(wish, directory);
  const messageOf = async (wish?: string) => ((await rejectionOf(load(wish))) as Error).message;

  it('takes the one of the current directory, if there is one', async () => {
    expect(await load()).to.equal(undefined);
    await write('manifest.yaml', 'applications: [{name: a}]');
    expect(await load()).to.deep.equal({ path: 'manifest.yaml', applications: [{ name: 'a' }], warnings: [] });
  });

  it('takes the file that is named, or the one in a directory that is named', async () => {
    await write('sub/manifest.yml', 'applications: [{name: a, path: app}]');
    const expected = {
      path: 'sub/manifest.yml',
      warnings: [],
      applications: [{ name: 'a', path: join(directory, 'sub/app') }],
    };
    expect(await load('sub')).to.deep.equal(expected);
    expect(await load('sub/manifest.yml')).to.deep.equal(expected);
    expect(await messageOf('other.yml')).to.equal('there is no manifest other.yml');
    expect(await messageOf('.')).to.equal('there is no manifest .');
  });

  it('reads what it inherits, each file with paths and warnings of its own', async () => {
    await write('manifest.yml', 'inherit: sub/base.yml\nx: 1\napplications: [{name: a}]');
    await write('sub/base.yml', 'inherit: ground.yml\ny: 1\npath: app\nmemory: 1G');
    await write('sub/ground.yml', 'memory: 2G\ninstances: 2');
    expect(await load()).to.deep.equal({
      path: 'manifest.yml',
      applications: [{ name: 'a', instances: 2, memory: 1024, path: join(directory, 'sub/app') }],
      warnings: ['manifest.yml: x: unknown key', 'sub/base.yml: y: unknown key'],
    });
  });

  it('names the file that is wrong, missing, or leads in a circle', async () => {
    await write('manifest.yml', 'inherit: base.yml');
    expect(await messageOf()).to.match(/^manifest\.yml: inherit: base\.yml cannot be read: ENOENT/);
    await write('base.yml', 'memory: x');
    expect(await messageOf()).to.equal('base.yml: memory: Give it as 256M or 1G.');
    await write('base.yml', 'inherit: manifest.yml');
    expect(await messageOf()).to.equal('manifest.yml: inherit: leads in a circle');
  });
});
